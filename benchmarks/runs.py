"""Whole runs with random weights: python -m benchmarks.runs end_to_end|resume|long_recording

`end_to_end` compares the pipeline with the per-file recipe and a lower bound on clips of 10 s in three forms:
44.1 kHz stereo WAV and FLAC, 16 kHz mono WAV. Each part has its own process, and start-up is left out. The
parts of a round follow each other:

- `pipeline.run` (FnApiRunner) on all clips, minus its time on one clip
- the per-file recipe (benchmarks/recipe.py) on at most 100 clips
- decoding alone, one clip after the other, multiplied by the number of cores
- the bare model at its best batch size
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile

from benchmarks import harness
from benchmarks.model import time_batches
from transforms.prefetch import num_cores

WEIGHTS = "random:0"
# Suffix, sample rate and channels of each form.
FORMS = {"wav_44": ("wav", 44_100, 2), "flac_44": ("flac", 44_100, 2), "wav_16": ("wav", 16_000, 1)}
PRECISIONS = ("float32", "bfloat16")
BEST_BATCH = 64  # from results/model.json
RATE_HZ = 44_100


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


def resume(*, clips: int = 10_000) -> dict[str, Any]:
    """Time to run a finished job again, for a corpus of clips of 1 s and, as the start-up, for one clip."""
    times_s: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, num_clips in (("one_clip", 1), ("corpus", clips)):
            corpus, output = Path(folder, name), Path(folder, f"{name}-features")
            harness.make_corpus(corpus, num_clips, seconds=1)
            times_s[name] = {
                order: harness.run_pipeline(f"{corpus}/*", output).wall_s for order in ("first", "again")
            }
            account = json.loads((output / "_run" / "manifest.json").read_text())["account"]
            assert account["existing"] == {"train": num_clips} and account["written"] == {"train": 0}
    return {
        "clips": clips,
        "seconds": {name: {key: round(s, 2) for key, s in pair.items()} for name, pair in times_s.items()},
        "again_beyond_start_up_s": round(times_s["corpus"]["again"] - times_s["one_clip"]["again"], 2),
    }


def long_recording(*, hours: float = 10.0) -> dict[str, Any]:
    """Peak memory and speed on a long FLAC of 44.1 kHz stereo, and on a tenth as much audio in clips of 10 s.

    A run of one clip is the start-up, which the speeds leave out.
    """
    num_blocks = round(hours * 3600 / harness.CLIP_S)
    num_clips = max(num_blocks // 10, 120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = harness.make_corpus(folder / "clips", num_clips, "flac", RATE_HZ, 2)
        with soundfile.SoundFile(folder / "long.flac", "w", RATE_HZ, 2, "PCM_16") as file:
            for number in range(num_blocks):
                file.write(harness.tone_in_noise(number, RATE_HZ, 2))
        start_s = harness.run_pipeline(clips[0], folder / "out-one").wall_s
        report: dict[str, Any] = {"start_s": round(start_s, 1)}
        for kind, pattern, num_parts in (("clips", "clips/*", num_clips), ("long", "long.flac", num_blocks)):
            run = harness.run_pipeline(folder / pattern, folder / f"out-{kind}")
            audio_s = num_parts * harness.CLIP_S
            report[kind] = {
                "audio_s": audio_s,
                "wall_s": round(run.wall_s, 1),
                "cpu_s": round(run.cpu_s, 1),
                "peak_gb": round(run.peak_mb / 1e3, 3),
                "times_real_time": round(audio_s / max(run.wall_s - start_s, 1e-9), 1),
            }
    ratio = report["long"]["times_real_time"] / report["clips"]["times_real_time"]
    return report | {"speed_ratio": round(ratio, 3)}


if __name__ == "__main__":
    harness.main(end_to_end, resume, long_recording)
