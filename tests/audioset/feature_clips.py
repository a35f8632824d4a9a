"""Clips with features, how a test writes them to a feature folder, and what it must read back."""

import json

import numpy as np

from transforms.audioset.example import encode_example
from transforms.audioset.schemas import AUDIOSET_SCHEMA
from transforms.audioset.segments import Segment
from transforms.storage.tfrecord import frame_records
from transforms.vggish.postprocess import RELEASED_RANGE, dequantize

RNG = np.random.default_rng(0)
# Id -> (labels, frames): shorter than ten frames, as long, longer, and without labels.
CLIPS = {
    "aa1": ((0, 526), RNG.integers(0, 256, (3, 128), np.uint8)),
    "aa2": ((7,), RNG.integers(0, 256, (10, 128), np.uint8)),
    "ab1": ((), RNG.integers(0, 256, (1, 128), np.uint8)),
    "-c1": ((1, 2, 3), RNG.integers(0, 256, (25, 128), np.uint8)),
}


def write(folder, clips=CLIPS, split="train", schema=AUDIOSET_SCHEMA):
    """Writes each clip into the shard of its first two characters; returns the feature folder."""
    shards: dict[str, list[bytes]] = {}
    for video_id, (labels, frames) in clips.items():
        record = encode_example(Segment(split, video_id, 0.0, 30.0, labels), frames, schema)
        shards.setdefault(video_id[:2], []).append(record)
    (folder / split).mkdir(parents=True, exist_ok=True)
    (folder / "_run").mkdir(exist_ok=True)
    for name, records in shards.items():
        (folder / split / f"{name}.tfrecord").write_bytes(frame_records(records))
    return folder


def set_range(folder, low, high):
    """Write a manifest with the range of values that the bytes represent; returns the feature folder."""
    manifest = {"settings": {"quantization_range": [low, high]}}
    (folder / "_run" / "manifest.json").write_text(json.dumps(manifest))
    return folder


def check(found, clips=CLIPS, num_frames=10, quantization=RELEASED_RANGE):
    assert found.keys() == clips.keys()
    for video_id, (labels, frames) in clips.items():
        clip, kept = found[video_id], frames[:num_frames]
        assert clip["num_frames"] == len(kept)
        assert clip["embeddings"].shape == (num_frames, 128) and clip["embeddings"].dtype == np.float32
        expected = dequantize(kept, quantization) if frames.dtype == np.uint8 else kept
        np.testing.assert_array_equal(clip["embeddings"][: len(kept)], expected)
        assert not clip["embeddings"][len(kept) :].any()
        assert clip["labels"].dtype == np.float32 and tuple(np.flatnonzero(clip["labels"])) == labels
        assert set(clip["labels"]) <= {0.0, 1.0} and len(clip["labels"]) == 527


def many(count: int) -> dict:
    return {f"{n:02d}x": ((n % 527,), np.full((1, 128), n % 256, np.uint8)) for n in range(count)}
