"""What every report says of where it was made, and how its figures were taken."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_TURN_S = 0.02
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def describe(*packages: str) -> dict[str, Any]:
    """The machine, its load before the benchmark, and versions."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in cpu.split("\n\n")[0].splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    flags = named.get("flags", "").split()
    return {
        "machine": {
            "cpu": named.get("model name", platform.processor()),
            "features": [feature for feature in _FEATURES if feature in flags],
            "cores": cores(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in packages},
    }


def in_turns(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Medians of the seconds of each, measured in turns, so that what else the machine does falls on all.

    A short one is called again within its turn, as in a run, where one clip follows the other: caches that
    the one before it left cold would count for more than the work.
    """
    times_s: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):
        for name, call in work.items():
            started, calls, turn_s = time.perf_counter(), 0, 0.0
            while turn_s < _TURN_S:
                call()
                calls, turn_s = calls + 1, time.perf_counter() - started
            if round_number:  # the first one warms up
                times_s[name].append(turn_s / calls)
    return {name: statistics.median(times) for name, times in times_s.items()}


def write(name: str, report: Mapping[str, Any]) -> None:
    """Prints a report, and puts it among the results."""
    text = json.dumps(report, indent=2)
    print(text)
    (RESULTS / f"{name}.json").write_text(text + "\n")
