"""python tests/fuzz/run.py [TARGET ...] [--seconds=60]: search for bytes for which a target fails.

Each target runs in a process of its own under atheris (libFuzzer), as many at a time as there are cores, led
by the branches of `transforms`: instrumenting TensorFlow or Arrow would take minutes. Exit status: 0 nothing
was found, 1 an input was; it is printed, and kept, so that it can become a test.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("segments", "labels", "tar", "tfrecord", "parquet", "audio", "mpeg", "ogg", "container", "example")
_CHILD = "--child"
_SHOWN_BYTES = 2_000
# A page of Parquet may state 2 GiB, which Arrow allocates before it reads the page.
_MOST_MB = {"parquet": 6144}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="of the mutations; one and the same, so that a change is blamed for what it broke and not\n"
        "for luck; 0 takes another each time, for a longer search (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed; it has wheels for Linux on x86-64 alone")
    crashes = Path(tempfile.mkdtemp(prefix="fuzz-"))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        held = list(threads.map(lambda name: fuzz(name, options, crashes), options.targets or NAMES))
    if all(held):
        shutil.rmtree(crashes)
    return not all(held)


def fuzz(name: str, options: argparse.Namespace, crashes: Path) -> bool:
    """Run a target, print the result, and return whether it held."""
    with tempfile.TemporaryDirectory() as corpus:
        flags = [
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            f"-rss_limit_mb={_MOST_MB.get(name, 2048)}",
            "-timeout=20",
            f"-artifact_prefix={crashes}/{name}-",
        ]
        child = subprocess.run(
            [sys.executable, __file__, _CHILD, name, *flags, corpus],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
            errors="replace",
        )
    log = child.stderr
    progress = re.findall(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)", log, re.MULTILINE)
    runs, edges, features, kept = progress[-1] if progress else (0, 0, 0, 0)
    lines = [f"{name}: {runs} executions, {edges} edges, {features} features, {kept} inputs kept"]
    if child.returncode == 0 and progress:
        print(lines[0], flush=True)
        return True
    # Leave out libFuzzer's progress and its three forms of the input; the traceback of atheris comes last.
    told = [line for line in log.splitlines() if not re.match(r"#\d|0x|INFO|Base64", line)]
    lines += [*told[-20:], *child.stdout.splitlines()[-40:]]
    for path in sorted(crashes.glob(f"{name}-*")):
        data = path.read_bytes()
        lines.append(f"{path}, {len(data)} bytes: {data[:_SHOWN_BYTES]!r}")
    print("\n".join([*lines, f"{name} does not hold, exit status {child.returncode}"]), flush=True)
    return False


def run_child(name: str, flags: list[str], corpus: Path) -> None:
    """Fuzz a target in this process, which libFuzzer ends."""
    import atheris

    tests = ROOT / "tests"
    sys.path[:0] = [str(ROOT), str(tests), str(tests / "audio"), str(tests / "audio_shards")]
    with atheris.instrument_imports(include=["transforms"]):
        from targets import TARGETS
    from seeds import seeds

    for number, seed in enumerate(seeds(name)):
        (corpus / f"{number:02d}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == [_CHILD]:
        run_child(sys.argv[2], sys.argv[3:-1], Path(sys.argv[-1]))
    sys.exit(main(sys.argv[1:]))
