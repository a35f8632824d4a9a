"""The commands. This package combines the transforms; it computes no features itself."""

from pipeline.process.own_command import own_command

if _command := own_command():  # not in another program that imports this package
    from pipeline.process.start import start

    start(_command)
