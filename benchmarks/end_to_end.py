"""The pipeline in comparison with the per-file recipe and a lower bound: python -m benchmarks.end_to_end

Clips of 10 s in three forms: 44.1 kHz stereo WAV and FLAC, 16 kHz mono WAV. Each part has its own process,
and start-up is left out. The parts of a round follow each other:

- `pipeline.run` (FnApiRunner) on all clips, minus its time on one clip
- the per-file recipe (benchmarks/recipe.py) on at most 100 clips
- decoding alone, one clip after the other, multiplied by the number of cores
- the bare model at its best batch size
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.model import time_batches
from transforms.prefetch import num_cores

WEIGHTS = "random:0"
# Suffix, sample rate and channels of each form.
FORMS = {"wav_44": ("wav", 44_100, 2), "flac_44": ("flac", 44_100, 2), "wav_16": ("wav", 16_000, 1)}
PRECISIONS = ("float32", "bfloat16")
BEST_BATCH = 64  # from results/model.json


def time_recipe(folder: str, num_clips: int) -> float:
    """Return the seconds that the recipe takes for the first clips of a folder."""
    from benchmarks import recipe
    from transforms.vggish.checkpoint import read_weights
    from transforms.vggish.model import build_vggish

    model = build_vggish(read_weights(WEIGHTS))
    paths = sorted(map(str, Path(folder).iterdir()))[:num_clips]
    recipe.embed(paths[0], model)
    started = time.perf_counter()
    for path in paths:
        recipe.embed(path, model)
    return time.perf_counter() - started


def time_decoding(folder: str) -> float:
    """Return the seconds that decoding the clips of a folder takes."""
    from transforms.audio.decode import mono_blocks, open_audio

    started = time.perf_counter()
    for path in sorted(Path(folder).iterdir()):
        with path.open("rb") as file, open_audio(file) as stream:
            for _ in mono_blocks(stream):
                pass
    return time.perf_counter() - started


def end_to_end(*, clips: int = 1000, rounds: int = 3) -> dict[str, Any]:
    """Clips per second of the pipeline, the per-file recipe, decoding alone and the bare model."""
    with tempfile.TemporaryDirectory() as folder:
        forms = {form: _measure_form(form, Path(folder, form), clips, rounds) for form in FORMS}
    return {"clips": clips, "forms": forms}


def _measure_form(form: str, corpus: Path, num_clips: int, rounds: int) -> dict[str, Any]:
    harness.make_corpus(corpus, num_clips, *FORMS[form])
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
    decoding_s = harness.run_function(time_decoding, corpus).result
    rates = {
        "recipe": num_recipe / harness.run_function(time_recipe, corpus, num_recipe).result,
        "decoding_all_cores": num_clips * num_cores() / decoding_s,
    }
    num_examples = num_clips * harness.EXAMPLES_PER_CLIP
    for precision in PRECISIONS:
        run = harness.run_function(time_batches, WEIGHTS, precision, [BEST_BATCH], num_examples)
        (model,) = run.result.values()
        rates[f"model_{precision}"] = model["examples"] / model["wall_s"] / harness.EXAMPLES_PER_CLIP
        rates[f"pipeline_{precision}"] = _pipeline_rate(corpus, num_clips, f"--precision={precision}")
    return rates


def _pipeline_rate(corpus: Path, num_clips: int, *flags: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start_s, all_s = (
            harness.run_pipeline(clips, f"{folder}/{name}", f"--batch_size={BEST_BATCH}", *flags).wall_s
            for name, clips in (("one", min(corpus.iterdir())), ("all", corpus / "*"))
        )
    return num_clips / (all_s - start_s)


def _ratios(rates: dict[str, float]) -> dict[str, float]:
    """Return the ratios within a round, whose parts other work on the machine affects alike."""
    ratios = {}
    for precision in PRECISIONS:
        pipeline, model = rates[f"pipeline_{precision}"], rates[f"model_{precision}"]
        floors_s = 1 / rates["decoding_all_cores"] + 1 / model
        ratios[f"{precision}_over_recipe"] = pipeline / rates["recipe"]
        ratios[f"{precision}_over_bare_model"] = pipeline / model
        ratios[f"{precision}_time_over_floors"] = 1 / pipeline / floors_s
    return ratios


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(values[name] for values in rounds), 2) for name in rounds[0]}


if __name__ == "__main__":
    harness.main(end_to_end)
