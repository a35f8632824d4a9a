"""The model on CPU: python -m benchmarks.model --audio=GLOB --weights=PATH --pca_params=PATH

tests/vggish/test_precision.py and transforms/vggish/precision.py read `changed_bytes` of results/model.json,
which is measured only with --audio. Give all three flags when the results are to be committed.
"""

import glob
import itertools
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import harness
from pipeline.assets.resolve import find_pca_params
from pipeline.cli.option_groups import NO_PCA
from pipeline.embed import read_waveform
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.resamplers import RESAMPY, SOXR, Resampler
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.postprocess import postprocess
from transforms.vggish.precision import FLOAT32, PRECISIONS

BATCH_SIZES = (8, 16, 32, 64, 128)
BASE = f"{FLOAT32} batch 32"


def time_batches(
    weights: str, precision: str, sizes: Sequence[int], min_examples: int = 64
) -> dict[str, dict[str, float]]:
    """Embed at least `min_examples` in batches of each size with one model, after a call that warms up.

    Returns:
      "PRECISION batch SIZE" -> number of examples, wall and CPU time in seconds.
    """
    from transforms.vggish.model import build_vggish

    model = build_vggish(read_weights(weights), precision)
    model.compile(optimizer=None, jit_compile=False)
    measured = {}
    for size in sizes:
        batch = np.random.default_rng(0).uniform(-4.6, 4.0, (size, 96, 64)).astype(np.float32)
        model.predict_on_batch(batch)
        num_calls = -(-min_examples // size)
        started = harness.usage_s()
        for _ in range(num_calls):
            model.predict_on_batch(batch)
        wall_s, cpu_s, _ = (harness.usage_s() - started).tolist()
        examples = num_calls * size
        measured[f"{precision} batch {size}"] = {"examples": examples, "wall_s": wall_s, "cpu_s": cpu_s}
    return measured


def model(
    *, rounds: int = 7, weights: str = "random:0", audio: str = "", pca_params: str = ""
) -> dict[str, Any]:
    """Examples per second and memory of the model on CPU, by precision and batch size.

    With --audio (a glob of recordings) also the bytes that each precision and the other resampler change;
    --pca_params is the path of an .npz, without it features are quantized without PCA.
    """
    report: dict[str, Any] = {"variants": _measure_speed(weights, rounds), "memory": _measure_memory()}
    if audio:
        report["changed_bytes"] = _measure_bytes(weights, sorted(glob.glob(audio)), pca_params)
    return report


def _measure_speed(weights: str, num_rounds: int) -> dict[str, dict[str, float]]:
    """Return medians over the rounds, and medians of ratios to float32 in batches of 32 in the same round.

    Each precision has its own process, because float16 changes a setting of TensorFlow for its whole process.
    """
    rounds: list[dict[str, dict[str, float]]] = [{} for _ in range(num_rounds)]
    for measured, precision in itertools.product(rounds, PRECISIONS):
        measured |= harness.run_function(time_batches, weights, precision, BATCH_SIZES).result
    rates = {name: [r[name]["examples"] / r[name]["wall_s"] for r in rounds] for name in rounds[0]}
    cpu_ms = {name: [1e3 * r[name]["cpu_s"] / r[name]["examples"] for r in rounds] for name in rounds[0]}
    return {
        name: {
            "examples_per_s": round(statistics.median(rates[name]), 1),
            "cpu_ms_per_example": round(statistics.median(cpu_ms[name]), 2),
            "ratio": round(float(np.median(np.divide(rates[name], rates[BASE]))), 3),
            "cpu_ratio": round(float(np.median(np.divide(cpu_ms[name], cpu_ms[BASE]))), 3),
        }
        for name in rates
    }


def _measure_memory() -> dict[str, dict[str, float]]:
    """Measure processes that embed in one way only, with random weights, which are not read from a file."""
    memory = {}
    for size in BATCH_SIZES:
        for precision in PRECISIONS if size == 32 else (FLOAT32,):
            run = harness.run_function(time_batches, "random:0", precision, [size])
            memory[f"{precision} batch {size}"] = {"peak_gb": round(run.peak_mb / 1e3, 3)}
    return memory


def _measure_bytes(weights: str, paths: Sequence[str], pca_params: str) -> dict[str, Any]:
    """Compare the bytes of each precision, and of the other resampler, with those of the defaults."""
    examples: dict[Resampler, list[np.ndarray]] = {RESAMPY: [], SOXR: []}
    for path in paths:
        waveform, rate_hz = read_waveform(path)
        for resampler, of_resampler in examples.items():
            of_resampler += waveform_examples([waveform], rate_hz, resampler=resampler)
    pca, _ = find_pca_params(pca_params or NO_PCA, None)
    variants = {precision: (RESAMPY, precision) for precision in PRECISIONS} | {SOXR: (SOXR, FLOAT32)}
    embeddings = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (resampler, precision) in variants.items():
            source, output = f"{folder}/{resampler}.npy", f"{folder}/embeddings-{name}.npy"
            np.save(source, np.concatenate(examples[resampler]))
            harness.run_function(harness.save_embeddings, weights, precision, 32, source, output)
            embeddings[name] = np.load(output)
    codes = {name: postprocess(values, pca).astype(int) for name, values in embeddings.items()}
    results: dict[str, Any] = {"recordings": len(paths), "bytes": codes[FLOAT32].size}
    for name in (name for name in variants if name != FLOAT32):
        differences = np.abs(codes[name] - codes[FLOAT32])
        results[name] = {
            "fraction": round(float((differences > 0).mean()), 4),
            "mean": round(float(differences.mean()), 4),
            "worst": int(differences.max()),
            "embedding_worst": round(float(np.abs(embeddings[name] - embeddings[FLOAT32]).max()), 5),
        }
    return results


if __name__ == "__main__":
    harness.main(model)
