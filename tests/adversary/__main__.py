"""python -m tests.adversary [--sequences=100] [--seed=1]: searches for sequences that break a promise.

The sequences are divided among one process per core. Exit status: 0 if all promises hold, 1 if a sequence
breaks one. Hypothesis then searches for the shortest such sequence, and prints its steps and a line that
repeats them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sequences", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return attack(options.sequences, options.seed)
    begun = time.monotonic()
    share = -(-options.sequences // options.jobs)
    # Each process has its own seed, which no other --seed gives to a process.
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.adversary", "--child", f"--sequences={share}", f"--seed={seed}"],
            cwd=FOLDER.parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in range(options.seed * 1000, options.seed * 1000 + options.jobs)
    ]
    counts = Counter[str]()
    for child in children:
        out, _ = child.communicate()
        *lines, last = out.rstrip().splitlines()
        print("\n".join(lines))
        for part in last.split(", "):
            number, _, name = part.partition(" ")
            counts[name] += int(number)
    _tell(counts)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"seed {options.seed}: {time.monotonic() - begun:.0f} s with {options.jobs} processes, "
        f"{used.ru_utime + used.ru_stime:.0f} s of a core"
    )
    return int(any(child.returncode for child in children))


def attack(sequences: int, seed: int) -> int:
    """Draws sequences in this process; prints a sequence that breaks a promise, and returns 1, else 0."""
    sys.path[:0] = [str(FOLDER.parents[1]), str(FOLDER), str(FOLDER.parent)]
    from machine import draw
    from workspace import Workspace

    with tempfile.TemporaryDirectory(prefix="adversary-") as folder:
        workspace = Workspace(Path(folder))
        try:
            draw(workspace, sequences, seed)
            return 0
        except Exception as error:
            traceback.print_exception(error, file=sys.stdout)
            return 1
        finally:
            workspace.close()
            _tell(workspace.counts)


def _tell(counts: Counter[str]) -> None:
    print(
        ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "0 sequences", flush=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
