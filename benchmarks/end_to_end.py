"""The whole pipeline against the per-file recipe, and against its own floors: python -m benchmarks.end_to_end
[--clips=1000] [--rounds=3]

Clips of 10 s in three forms: 44.1 kHz stereo WAV and FLAC, 16 kHz mono WAV. In turns, each in a process of
its own: `pipeline.run` on all of them (FnApiRunner), less the same on one clip, which is its start-up; the
per-file recipe (benchmarks/recipe.py) on a part of them; decoding alone, as if on all cores; and the bare
model at its best batch size. Prints clips a second and ratios, medians over the rounds, and writes them to
results/end_to_end.json.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import machine

CLIP_S = 10
EXAMPLES = 10  # of a clip
WEIGHTS = "random:0"
FORMS = {"wav_44": ("wav", 44_100, 2), "flac_44": ("flac", 44_100, 2), "wav_16": ("wav", 16_000, 1)}
BEST_BATCH = 64  # results/model.json
DISTINCT = 50
ROOT = Path(__file__).parents[1]


def make_corpus(folder: Path, form: str, num_clips: int) -> None:
    """Clips of a tone in noise; those after the first fifty are links to them."""
    folder.mkdir()
    suffix, rate_hz, channels = FORMS[form]
    for number in range(num_clips):
        path = folder / f"{number * 7919 % 4096:04o}-{number}.{suffix}"
        if number >= DISTINCT:
            original = number % DISTINCT
            os.link(folder / f"{original * 7919 % 4096:04o}-{original}.{suffix}", path)
            continue
        rng = np.random.default_rng(number)
        times_s = np.arange(CLIP_S * rate_hz)[:, np.newaxis] / rate_hz
        tone = np.sin(2 * np.pi * rng.uniform(100, 4_000) * times_s)
        samples = 8_000 * tone + 2_000 * rng.standard_normal((len(times_s), channels))
        soundfile.write(path, samples.astype(np.int16), rate_hz, "PCM_16")


def embed(corpus: str, *flags: str) -> float:
    """Runs the pipeline; returns the seconds it took."""
    with tempfile.TemporaryDirectory() as output:
        options = ["--runner=FnApiRunner", f"--weights={WEIGHTS}", "--pca_params=none"]
        options += [f"--batch_size={BEST_BATCH}", *flags]
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "pipeline.run", *options, f"--input={corpus}", f"--output={output}"],
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.monotonic() - started


def run_part(name: str, *arguments: object) -> float:
    """Seconds of one of `PARTS` in a process of its own, start-up left out."""
    command = [sys.executable, "-m", "benchmarks.end_to_end", f"--part={name}", *map(str, arguments)]
    return float(subprocess.check_output(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True))


def _time_recipe(folder: str, num_clips: str) -> float:
    from benchmarks.recipe import Recipe

    recipe = Recipe(WEIGHTS, None)
    paths = sorted(map(str, Path(folder).iterdir()))[: int(num_clips)]
    recipe.embed(paths[0])
    started = time.perf_counter()
    for path in paths:
        recipe.embed(path)
    return time.perf_counter() - started


def _time_model(precision: str, num_clips: str) -> float:
    from transforms.vggish.checkpoint import read_weights
    from transforms.vggish.model import Embedder

    model = Embedder(read_weights(WEIGHTS), BEST_BATCH, precision)
    examples = np.random.default_rng(0).normal(-1, 1, (BEST_BATCH, 96, 64)).astype(np.float32)
    model.embed(examples)
    num_batches = round(int(num_clips) * EXAMPLES / BEST_BATCH)
    started = time.perf_counter()
    for _ in range(num_batches):
        model.embed(examples)
    return time.perf_counter() - started


def _time_decoding(folder: str) -> float:
    from transforms.audio.decode import mono_blocks, open_audio

    started = time.perf_counter()
    for path in sorted(Path(folder).iterdir()):
        with path.open("rb") as file, open_audio(file) as stream:
            for _ in mono_blocks(stream):
                pass
    return time.perf_counter() - started


PARTS: dict[str, Callable[..., float]] = {
    "recipe": _time_recipe,
    "model": _time_model,
    "decoding": _time_decoding,
}


def measure_form(form: str, folder: Path, num_clips: int, rounds: int) -> dict[str, Any]:
    """Clips a second of everything on clips of one form."""
    corpus = folder / form
    make_corpus(corpus, form, num_clips)
    rates = [_measure_round(corpus, num_clips) for _ in range(rounds)]
    medians = _medians(rates)
    for workers in (2, 4):
        flags = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
        medians[f"pipeline_float32_{workers}_workers"] = round(_pipeline_rate(corpus, num_clips, *flags), 2)
    return {
        "clips_per_s": medians,
        "rounds": [{name: round(rate, 2) for name, rate in of_round.items()} for of_round in rates],
        "ratios": _medians([_ratios(of_round) for of_round in rates]),
    }


def _measure_round(corpus: Path, num_clips: int) -> dict[str, float]:
    num_recipe = min(num_clips, 100)
    rates = {
        "recipe": num_recipe / run_part("recipe", corpus, num_recipe),
        "decoding_all_cores": num_clips * machine.cores() / run_part("decoding", corpus),
    }
    for precision in ("float32", "bfloat16"):
        rates[f"model_{precision}"] = num_clips / run_part("model", precision, num_clips)
        rates[f"pipeline_{precision}"] = _pipeline_rate(corpus, num_clips, f"--precision={precision}")
    return rates


def _pipeline_rate(corpus: Path, num_clips: int, *flags: str) -> float:
    start_s = embed(str(min(corpus.iterdir())), *flags)
    return num_clips / (embed(f"{corpus}/*", *flags) - start_s)


def _ratios(rates: dict[str, float]) -> dict[str, float]:
    """Of one round, whose parts follow each other: what else the machine does falls on all of them."""
    ratios = {}
    for precision in ("float32", "bfloat16"):
        pipeline, model = rates[f"pipeline_{precision}"], rates[f"model_{precision}"]
        ratios[f"{precision}_over_recipe"] = pipeline / rates["recipe"]
        ratios[f"{precision}_over_bare_model"] = pipeline / model
        floors_s = 1 / rates["decoding_all_cores"] + 1 / model
        ratios[f"{precision}_time_over_floors"] = 1 / pipeline / floors_s
    return ratios


def _medians(of_rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(r[name] for r in of_rounds), 2) for name in of_rounds[0]}


def measure(num_clips: int = 1000, rounds: int = 3) -> dict[str, Any]:
    """The report."""
    report = machine.describe("apache-beam", "tensorflow", "keras", "numpy", "resampy", "soundfile")
    with tempfile.TemporaryDirectory() as folder:
        forms = {form: measure_form(form, Path(folder), num_clips, rounds) for form in FORMS}
    command = f"python -m benchmarks.end_to_end --clips={num_clips} --rounds={rounds}"
    return {"command": command, **report, "clips": num_clips, "forms": forms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # of the measurement, in a child
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(PARTS[options.part](*options.arguments))
    else:
        machine.write("end_to_end", measure(options.clips, options.rounds))


if __name__ == "__main__":
    main()
