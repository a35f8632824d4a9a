import sys

import apache_beam as beam
import numpy as np
import pytest
from sounds import write_noise

if sys.version_info < (3, 11):
    pytest.skip("TensorFlow Transform needs Python 3.11 with this TensorFlow", allow_module_level=True)

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.extract_examples import ExtractExamples
from transforms.read_clips import ClipSettings, ReadClips
from transforms.read_features import ReadFeatures
from transforms.statistics.analyze_corpus import AnalyzeAudio, AnalyzeFeatures, WriteAnalysis, read_analysis
from transforms.statistics.analyze_vectors import AnalyzeVectors
from transforms.statistics.count_clips import Count
from transforms.storage.tfrecord import frame_records


def run(analyze, path: str):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | WriteAnalysis(analyze, path)
    return read_analysis(path)


def test_features_are_counted_and_analyzed_as_they_are_stored(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 128), np.uint8)
    clips = [
        (Segment("train", "ab1", 0.0, 3.0, (4,)), frames[:3]),
        (Segment("train", "ab2", 0.0, 2.0), frames[3:]),
    ]
    clips.append((Segment("train", "ab3", 0.0, 1.0), frames[:0]))
    (tmp_path / "train").mkdir()
    records = (encode_example(segment, own) for segment, own in clips)
    (tmp_path / "train" / "ab.tfrecord").write_bytes(frame_records(records))
    read = ReadFeatures(str(tmp_path), "quantized")
    found = run(AnalyzeFeatures(read, AnalyzeVectors(128, f"{tmp_path}/temp")), f"{tmp_path}/found.json")
    assert found.counts == [Count("train", None, 3, 5, 6000), Count("train", 4, 1, 3, 3000)]
    assert found.rejected == {} and found.moments is not None and found.moments.count == 5
    np.testing.assert_allclose(found.moments.mean, frames.mean(axis=0))


def test_audio_is_counted_without_duplicates_and_rejects(tmp_path):
    write_noise(tmp_path / "a" / "x.wav", 2.0)
    write_noise(tmp_path / "b" / "x.wav", 2.0)
    (tmp_path / "a" / "bad.wav").write_text("no audio")
    read = ReadClips([f"{tmp_path}/*/*.wav"], ClipSettings("train"))
    found = run(AnalyzeAudio(read, ExtractExamples(), f"{tmp_path}/temp"), f"{tmp_path}/found.json")
    assert found.counts == [Count("train", None, 1, 2, 2000)]
    assert found.rejected == {"duplicate": 1, "not_audio": 1}
    assert found.moments is not None and found.moments.count == 2 * 2 * 96  # log-mel frames of both files
