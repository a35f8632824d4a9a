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
    """Make Beam start worker processes of this process with this module; Beam has no option for it.

    Beam starts a command by a shell, and dash clears the mask of blocked signals. Ignored signals stay ignored.
    """
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    make = SubprocessSDKEnvironment.from_command_string

    def make_ours(command_string: str) -> SubprocessSDKEnvironment:
        return make(f"trap '' INT HUP; exec {command_string.replace(_BEAMS, __name__)}")

    SubprocessSDKEnvironment.from_command_string = make_ours
    name_launcher()


if __name__ == "__main__":
    follow_named_launcher()
    runpy.run_module(_BEAMS, run_name="__main__", alter_sys=True)
