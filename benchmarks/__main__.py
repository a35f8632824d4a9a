"""python -m benchmarks [NAME ...]: run the benchmarks that need no GPU and update docs/benchmarks.md."""

import argparse
import subprocess
import sys

from benchmarks.harness import ROOT
from benchmarks.report import write_pages

# Name of the result -> arguments of `python -m`, in the order of the runs. All take about three hours. The
# default leaves out `extraction`, because docs/scale.md has its figures from a machine with 16 cores.
BENCHMARKS = {
    "start_up": ["benchmarks.start_up"],
    "front_end": ["benchmarks.front_end"],
    "model": ["benchmarks.model"],
    "end_to_end": ["benchmarks.runs", "end_to_end"],
    "codecs": ["benchmarks.decoding", "codecs"],
    "extraction": ["benchmarks.decoding", "extraction"],
    "scale": ["benchmarks.scale", "scale"],
    "runners": ["benchmarks.scale", "runners"],
    "resume": ["benchmarks.runs", "resume"],
    "long_recording": ["benchmarks.runs", "long_recording"],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{names} (default: all but extraction)")
    chosen = parser.parse_args().names or [name for name in BENCHMARKS if name != "extraction"]
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        parser.error(f"{unknown[0]!r} is not a benchmark; choose from {names}")
    commands = {name: [sys.executable, "-m", *BENCHMARKS[name]] for name in chosen}
    failed = [name for name, command in commands.items() if subprocess.run(command, cwd=ROOT).returncode]
    write_pages()
    if failed:
        sys.exit(f"benchmarks: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
