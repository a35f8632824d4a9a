"""The graph: what goes in comes out as records, lists and counts."""

import json

import apache_beam as beam
import numpy as np
from sounds import write_noise
from trial_runs import REJECTED, read

from pipeline.graph import EmbeddingJob, build_graph
from transforms.embed_examples import EmbedExamples, VggishModelHandler
from transforms.extract_examples import ExtractExamples
from transforms.progress import CLIPS, CLIPS_DONE, FILES_READ, FRAMES, SHARDS, ProgressFolder
from transforms.progress import REJECTED as PROGRESS_REJECTED
from transforms.read_clips import ClipSettings, ReadClips
from transforms.rejects import KeepRejected
from transforms.write_features import WriteFeatures


def run_job(tmp_path, quantize: bool, progress: ProgressFolder | None = None):
    write_noise(tmp_path / "in" / "ab1.wav", 2.0)
    write_noise(tmp_path / "in" / "ab2.wav", 1.0)
    (tmp_path / "in" / "bad.wav").write_text("no audio")
    output = tmp_path / f"out-{quantize}"
    job = EmbeddingJob(
        ReadClips([f"{tmp_path}/in/*"], ClipSettings("train"), progress),
        ExtractExamples(),
        EmbedExamples(VggishModelHandler("random:0", 8)),
        quantize,
        None,
        WriteFeatures(str(output)),
        KeepRejected([]),
        progress,
    )
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        build_graph(pipeline, job)
    return output


def test_clips_become_records_lists_and_counts(tmp_path):
    (tmp_path / "progress").mkdir()
    progress = ProgressFolder(str(tmp_path / "progress"))
    output = run_job(tmp_path, True, progress)
    codes = {name: frames for name, (_, frames) in read(output).items()}
    assert {name: frames.shape for name, frames in codes.items()} == {"ab1": (2, 128), "ab2": (1, 128)}
    (rejected,) = (output / "_run" / REJECTED).read_text().splitlines()
    assert json.loads(rejected)["reason"] == "not_audio"
    counts = {(s, o): n for s, o, n in json.loads((output / "_run" / "account.json").read_text())["counts"]}
    assert counts["train", "expected"] == 3 and counts["train", "written"] == 2
    assert counts["train", "rejected:not_audio"] == 1 and counts["train", "frames"] == 3
    found = progress.read()
    assert {name: found[name] for name in (FILES_READ, CLIPS, CLIPS_DONE, PROGRESS_REJECTED)} == {
        FILES_READ: 3,
        CLIPS: 3,
        CLIPS_DONE: 3,
        PROGRESS_REJECTED: 1,
    }
    assert (found[FRAMES], found[SHARDS]) == (3, 1)
    raw = read(run_job(tmp_path, False))["ab1"][1]
    assert raw.dtype == np.float32
    np.testing.assert_array_equal(
        ((raw.astype(np.float64).clip(-2, 2) + 2) * 63.75).astype(np.uint8), codes["ab1"]
    )
