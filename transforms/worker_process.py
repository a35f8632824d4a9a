"""A worker process that Beam starts on this machine: Beam's own, but it ends with its launcher.

`start_workers_here` has Beam start this module. Beam's would wait a minute for a launcher that was killed in
the meantime, before it imports anything that it is told to.
"""

import runpy
from functools import cache

from transforms.launcher import follow_named_launcher, name_launcher

_BEAMS = "apache_beam.runners.worker.sdk_worker_main"


@cache
def start_workers_here() -> None:
    """Has Beam start the worker processes of this process by this module.

    Beam has no option for the command.
    """
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    make = SubprocessSDKEnvironment.from_command_string

    def make_ours(command_string: str) -> SubprocessSDKEnvironment:
        return make(command_string.replace(_BEAMS, __name__))

    SubprocessSDKEnvironment.from_command_string = make_ours
    name_launcher()


if __name__ == "__main__":
    follow_named_launcher()
    runpy.run_module(_BEAMS, run_name="__main__", alter_sys=True)
