"""Resampling, mixing and log-mel on one core: python -m benchmarks.front_end [--rounds=15]"""

import os

# One core is measured. It must be set before NumPy is imported.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

from collections.abc import Callable
from typing import Any

import numpy as np
import resampy
import soxr

from benchmarks import harness, recipe
from transforms.audio.decode import mix_to_mono
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audio.dsp.resample import resample_blocks
from transforms.vggish.params import SAMPLE_RATE_HZ

RATES_HZ = (44_100, 48_000, 8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 88_200, 96_000, 192_000)
BLOCK = 1 << 16  # samples per block of the decoder


def front_end(*, rounds: int = 15) -> dict[str, Any]:
    """Time on 10 s of noise, in turns with resampy, soxr HQ, and the reference's log-mel in float64."""
    return {
        "resampling": {str(rate_hz): _measure_resampling(rate_hz, rounds) for rate_hz in RATES_HZ},
        "log_mel": _measure_log_mel(rounds),
    }


def _blocks(samples: np.ndarray) -> list[np.ndarray]:
    return np.split(samples, range(BLOCK, len(samples), BLOCK))


def _measure_resampling(rate_hz: int, rounds: int) -> dict[str, float]:
    waveform = np.random.default_rng(rate_hz).uniform(-1, 1, harness.CLIP_S * rate_hz)
    single = waveform.astype(np.float32)

    work: dict[str, Callable[[], np.ndarray]] = {
        "resampy": lambda: resampy.resample(waveform, rate_hz, SAMPLE_RATE_HZ),
        "ours": lambda: np.concatenate(list(resample_blocks(_blocks(waveform), rate_hz))),
        "soxr": lambda: soxr.resample(single, rate_hz, SAMPLE_RATE_HZ, "HQ"),
    }
    error = np.abs(work["ours"]() - work["resampy"]()).max()
    times_s = harness.median_times_s(work, rounds)
    return {f"{name}_ms": round(1e3 * t, 2) for name, t in times_s.items()} | {
        "resampy_over_ours": round(times_s["resampy"] / times_s["ours"], 1),
        "ours_over_soxr": round(times_s["ours"] / times_s["soxr"], 2),
        "max_difference": float(f"{error:.1g}"),
    }


def _measure_log_mel(rounds: int) -> dict[str, Any]:
    waveform = np.random.default_rng(0).normal(0, 0.1, harness.CLIP_S * SAMPLE_RATE_HZ)
    single = waveform.astype(np.float32)
    work: dict[str, Any] = {
        "log_mel_reference": lambda: recipe.log_mel(waveform),
        "log_mel_ours": lambda: log_mel_examples(single),
    }
    cases = {"mono_16": (SAMPLE_RATE_HZ, 1), "stereo_16": (SAMPLE_RATE_HZ, 2), "stereo_44": (44_100, 2)}
    for name, (rate_hz, channels) in cases.items():
        shape = harness.CLIP_S * rate_hz, channels
        samples = np.random.default_rng(1).normal(0, 3_000, shape).astype(np.int16)
        work[f"{name}_reference"] = lambda samples=samples: recipe.mono(samples)
        work[f"{name}_ours"] = lambda samples=samples: [mix_to_mono(block) for block in _blocks(samples)]
    times_s = harness.median_times_s(work, rounds)

    def ratio(*names: str) -> float:
        reference, ours = (sum(times_s[f"{n}_{who}"] for n in names) for who in ("reference", "ours"))
        return round(reference / ours, 2)

    return {
        "ms": {name: round(1e3 * t, 2) for name, t in times_s.items()},
        "reference_over_ours": {"log_mel": ratio("log_mel")}
        | {f"int16 {name} to log_mel, resampling apart": ratio(name, "log_mel") for name in cases},
    }


if __name__ == "__main__":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    harness.main(front_end)
