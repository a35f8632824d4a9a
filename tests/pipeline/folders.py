"""Feature folders to check, and the results of the checks."""

import json

import numpy as np

from pipeline import verify
from transforms.audioset.example import encode_example
from transforms.audioset.layout import Sharding
from transforms.audioset.segments import Segment
from transforms.storage.tfrecord import frame_records

CODES = np.random.default_rng(0).integers(0, 256, (40, 3, 128), np.uint8)
FRAMES = np.arange(3 * 128, dtype=np.uint8).reshape(3, 128)


def record(video_id: str = "abc", start_s: float = 0.0, end_s: float = 3.0, labels=(1,), frames=FRAMES):
    return encode_example(Segment("train", video_id, start_s, end_s, labels), frames)


def write_corpus(folder, codes=CODES, sharding: Sharding = Sharding(), skip=(), split="train"):
    """Writes forty clips of CODES, or of similar frames, with any sharding; two to three per shard."""
    shards = {name: [] for name in sharding.all_names(split)}
    for number, frames in enumerate(codes):
        if number not in skip:
            video_id = f"{number % 15:02}-{number}"
            encoded = encode_example(Segment(split, video_id, 0.5, 3.5, (1,)), frames)
            shards.setdefault(sharding.shard_name(split, video_id), []).append(encoded)
    (folder / split).mkdir(parents=True)
    for name, records in shards.items():
        (folder / split / f"{name}.tfrecord").write_bytes(frame_records(records))
    return folder


def verified(capsys, *argv) -> dict:
    """Returns the result as JSON, after checking that the text agrees with it."""
    capsys.readouterr()
    status = verify.run([*map(str, argv), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert verify.run([*map(str, argv)]) == status == (0 if result["good"] else 1)
    printed = capsys.readouterr().out
    shards = "1 shard" if result["shards"] == 1 else f"{result['shards']} shards"
    assert f"clips   {sum(result['clips'].values())}, in {shards}\n" in printed
    for line in (*result["problems"][:50], *result["notes"]):
        assert line in printed
    assert result["good"] == (not result["problems"]) == ("is good" in printed)
    return result


def segment_flags(folder) -> list[str]:
    return [f"--segments=mine={folder}/mine.csv", f"--class_labels={folder}/labels.csv"]


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
