"""What it costs to run a finished job again: python benchmarks/resume.py [--clips=10000]

Makes a corpus of clips of one second, embeds it, and runs the same command again; and the same for a corpus
of one clip, which is what start-up takes. Prints the times as JSON, and writes them to results/resume.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from pipeline.job.manifest import package_versions

RESULTS = Path(__file__).parent / "results" / "resume.json"


def make_corpus(folder: Path, num_clips: int) -> None:
    folder.mkdir(parents=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    for number in range(num_clips):
        # Ids spread over as many prefixes as there are in the release's alphabet, squared.
        soundfile.write(folder / f"{number * 7919 % 4096:04o}-{number}.wav", samples, 16_000)


def run(corpus: Path, output: Path) -> float:
    """Runs the pipeline; returns the seconds it took."""
    flags = ["--runner=FnApiRunner", "--weights=random:0", "--pca_params=none"]
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pipeline.run", *flags, f"--input={corpus}/*", f"--output={output}"],
        check=True,
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10_000)
    num_clips = parser.parse_args().clips
    times_s = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, clips in (("one_clip", 1), ("corpus", num_clips)):
            corpus, output = Path(folder, name), Path(folder, f"{name}-features")
            make_corpus(corpus, clips)
            times_s[name] = {"first": run(corpus, output), "again": run(corpus, output)}
            account = json.loads((output / "_run" / "manifest.json").read_text())["account"]
            assert account["existing"] == {"train": clips} and account["written"] == {"train": 0}
    results = {
        "clips": num_clips,
        "seconds": {name: {k: round(v, 2) for k, v in pair.items()} for name, pair in times_s.items()},
        "again_beyond_start_up_s": round(times_s["corpus"]["again"] - times_s["one_clip"]["again"], 2),
        "cores": os.cpu_count(),
        "versions": package_versions(),
    }
    text = json.dumps(results, indent=2)
    print(text)
    RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
