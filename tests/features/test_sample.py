from pathlib import Path

import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.errors import OutputError
from transforms.features.sample import FrameStatistics, project, sample_clips
from transforms.storage.tfrecord import frame_records


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, list[str]]:
    """Two splits, 40 shards and 1, ten clips each."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    paths = {"train": [], "eval": []}
    for split, count in (("train", 40), ("eval", 1)):
        for number in range(count):
            records = [
                encode_example(
                    Segment(split, f"{number}-{n}", 0.0, 10.0), rng.integers(0, 256, (3, 128), np.uint8)
                )
                for n in range(10)
            ]
            path = folder / f"{split}-{number}.tfrecord"
            path.write_bytes(frame_records(records))
            paths[split].append(str(path))
    return paths


def test_a_sample_is_deterministic_and_has_clips_of_every_split(shards):
    clips = sample_clips(shards, 100)
    ids = [(clip.segment.split, clip.segment.video_id) for clip in clips]
    assert len(set(ids)) == len(ids) == 60  # 50 of the large split, all ten of the small one
    assert len({video_id.split("-")[0] for split, video_id in ids if split == "train"}) >= 25
    turned = {split: paths[::-1] for split, paths in reversed(shards.items())}
    assert ids == [(clip.segment.split, clip.segment.video_id) for clip in sample_clips(turned, 100)]


def test_a_small_folder_is_its_own_sample(shards):
    assert len(sample_clips({"eval": shards["eval"]}, 1000)) == 10


def test_a_damaged_record_is_an_error(shards, tmp_path):
    path = tmp_path / "x.tfrecord"
    path.write_bytes(Path(shards["eval"][0]).read_bytes()[:-1])
    with pytest.raises(
        OutputError, match=r"x\.tfrecord: the file ends in the record at byte .* delete this shard"
    ):
        sample_clips({"eval": [str(path)]}, 100)


def test_statistics_report_dimensions_that_are_stuck():
    frames = np.random.default_rng(0).integers(1, 255, (50, 128), np.uint8)
    frames[:, 7] = 255
    frames[10:, 9] = 0
    found = FrameStatistics.of(frames)
    assert found.stuck() == [(9, 0, 0.8), (7, 255, 1.0)]
    assert np.flatnonzero(found.is_constant).tolist() == [7]
    assert found.counts.sum() == frames.size and found.counts[255] == 50
    raw = FrameStatistics.of(frames.astype(np.float32) / 7)
    assert raw.stuck() == [] and raw.counts.sum() == frames.size


def test_the_projection_equals_that_of_the_singular_vectors_and_its_sign_is_fixed():
    frames = np.random.default_rng(0).standard_normal((60, 128)) * np.linspace(5, 1, 128)
    points, shares = project(frames)
    centred = frames - frames.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(u[:, :2] * s[:2]), atol=1e-9)
    np.testing.assert_allclose(shares, s[:2] ** 2 / (s**2).sum())
    np.testing.assert_array_equal(points, project(frames.copy())[0])
    assert project(np.ones((1, 128)))[0].tolist() == [[0.0, 0.0]]
