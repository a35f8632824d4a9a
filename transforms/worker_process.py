"""Beam's worker process for this machine, which ends with its launcher.

`start_workers_here` makes Beam start this module instead of its own. Beam's module waits a minute for a
launcher that was killed, before it imports the plugins.
"""

import runpy
from functools import cache

from transforms.launcher import follow_named_launcher, name_launcher

_BEAMS = "apache_beam.runners.worker.sdk_worker_main"


@cache
def start_workers_here() -> None:
    """Make Beam start worker processes of this process with this module."""
    from transforms.beam_internals import change_worker_command

    change_worker_command(_ours)
    name_launcher()


def _ours(command: str) -> str:
    """The shell is often dash, which clears the mask of blocked signals; ignored signals stay ignored."""
    return f"trap '' INT HUP; exec {command.replace(_BEAMS, __name__)}"


if __name__ == "__main__":
    follow_named_launcher()
    import transforms.frameworks  # noqa: F401  before another package imports TensorFlow

    runpy.run_module(_BEAMS, run_name="__main__", alter_sys=True)
