"""Checks the name of a runner without importing Beam: some runners are refused, unknown names are mistakes.

Beam takes the names in `BEAM_RUNNERS`, in upper or lower case, with or without their last word `Runner`, and
the path of any class, such as `package.module.MyRunner`.
"""

import difflib

from transforms.errors import SettingError

# The names that Beam 2.77 knows.
BEAM_RUNNERS = (
    "DataflowRunner",
    "BundleBasedDirectRunner",
    "DirectRunner",
    "SwitchingDirectRunner",
    "InteractiveRunner",
    "FlinkRunner",
    "FnApiRunner",
    "KafkaStreamsRunner",
    "PortableRunner",
    "PrismRunner",
    "SparkRunner",
    "TestDirectRunner",
    "TestDataflowRunner",
)
_PROTOTYPE = "it is a prototype, which its authors advise against for production"
# Refused runners, and why; docs/runners.md has the trials.
REFUSED = {
    "DaskRunner": "it mixes the outputs of a step, and reports success with a wrong result",
    "BundleBasedDirectRunner": "this old runner of Beam fails in the middle of a run",
    "RayRunner": _PROTOTYPE,
    "RayFnApiRunner": _PROTOTYPE,
}
_REMEDY = "use --runner=FnApiRunner, or another runner of docs/runners.md"


def check_runner(name: str) -> None:
    """Checks the value of `--runner`.

    Raises:
      SettingError: the runner is refused, or Beam does not know its name.
    """
    _, is_path, last = name.rpartition(".")
    check_not_refused(name, last)
    known = [runner for runner in BEAM_RUNNERS if runner not in REFUSED]
    if not is_path and not any(runner.lower() in _spellings(name) for runner in known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SettingError(f"--runner={name}: Beam has no runner of this name{hint}; {_REMEDY}")


def check_not_refused(name: str, kind: str) -> None:
    """Raises SettingError for a value of `--runner` if `kind`, the name of its class or base, is refused."""
    for refused, reason in REFUSED.items():
        if refused.lower() in _spellings(kind):
            raise SettingError(f"--runner={name}: {refused} is refused: {reason}; {_REMEDY}")


def _spellings(name: str) -> tuple[str, str]:
    """Returns the lower-case names under which Beam looks for a runner."""
    return name.lower(), f"{name.lower()}runner"
