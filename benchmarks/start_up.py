"""Seconds from start to end of commands that do little, each in new processes: python -m benchmarks.start_up

The rounds take turns. One more process imports what a run imports, and measures it.
"""

import collections
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile

from benchmarks import harness
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import export_keras_weights

_CLIP_S, _RATE_HZ = 4, 44_100
# A package whose modules take less is left out.
_SHOWN_S = 0.2
# A line of `python -X importtime`: microseconds of the module alone, and its name.
_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)", re.MULTILINE)


def start_up(*, rounds: int = 5) -> dict[str, Any]:
    """Median seconds of commands in new processes, and the imports that take most of them."""
    with tempfile.TemporaryDirectory() as folder:
        clip, output = Path(folder, "clip.wav"), Path(folder, "finished")
        soundfile.write(clip, harness.tone_in_noise(0, _RATE_HZ, 2, _CLIP_S), _RATE_HZ, "PCM_16")
        # A file, as users have: drawing random weights takes two seconds more than reading them.
        weights = str(Path(folder, "model.weights.h5"))
        export_keras_weights(read_weights("random:0"), weights)
        assets = [f"--weights={weights}", "--pca_params=none"]
        run = ["-m", "pipeline.run", *assets, f"--input={clip}"]
        _time([*run, f"--output={output}"])
        new = (f"--output={folder}/new{number}" for number in range(rounds))
        commands = {
            "--help": lambda: ["-m", "pipeline.run", "--help"],
            "a mistyped option": lambda: [*run, "--outptu=x"],
            "one clip of 4 s": lambda: [*run, next(new)],
            "the same command again": lambda: [*run, f"--output={output}"],
            "embed": lambda: ["-m", "pipeline.embed_file", str(clip), *assets],
            "verify": lambda: ["-m", "pipeline.verify", str(output)],
        }
        times_s: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, arguments in commands.items():
                times_s[name].append(_time(arguments()))
        return {
            "rounds": rounds,
            "imports": _imports_s(["-c", "import transforms.frameworks, pipeline.run"]),
            "commands": {
                name: {
                    "seconds": round(statistics.median(times_s[name]), 2),
                    "slowest": round(max(times_s[name]), 2),
                }
                for name, arguments in commands.items()
            },
        }


def _time(arguments: list[str]) -> float:
    """Return the seconds of a command; its status is 0, or 2 for a mistake."""
    started = time.perf_counter()
    _run(arguments, os.environ)
    return time.perf_counter() - started


def _imports_s(arguments: list[str]) -> dict[str, float]:
    """Return package -> seconds in its modules, from the slowest; the measuring adds to them."""
    packages = collections.Counter[str]()
    for microseconds, package in _IMPORT.findall(
        _run(arguments, {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    ):
        packages[package] += int(microseconds)
    return {name: round(us / 1e6, 2) for name, us in packages.most_common() if us / 1e6 > _SHOWN_S}


def _run(arguments: list[str], environment: Any) -> str:
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=harness.ROOT, env=environment, capture_output=True, text=True)
    if ended.returncode not in (0, 2):
        raise SystemExit(f"benchmarks: {command} failed with status {ended.returncode}: {ended.stderr}")
    return ended.stderr


if __name__ == "__main__":
    harness.main(start_up)
