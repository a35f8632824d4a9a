"""Whole runs of the pipeline with random weights: python -m benchmarks.runs resume|long_recording"""

import json
import tempfile
from pathlib import Path
from typing import Any

import soundfile

from benchmarks import harness

RATE_HZ = 44_100


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
    harness.main(resume, long_recording)
