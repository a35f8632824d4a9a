"""python -m benchmarks [NAME ...]: runs the benchmarks that need no GPU, and writes docs/benchmarks.md."""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.report import write_page

# In this order; each prints its report and writes it to results/NAME.json. All take some three hours.
NAMES = (
    "front_end",
    "model",
    "fused",
    "end_to_end",
    "codecs",
    "scale",
    "runners",
    "isolation",
    "resume",
    "long_recording",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} (default: all)")
    names = parser.parse_args().names or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {unknown[0]}; there are {', '.join(NAMES)}")
    failed = [
        name
        for name in names
        if subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], cwd=Path(__file__).parents[1]
        ).returncode
    ]
    write_page()
    if failed:
        print(f"benchmarks: failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
