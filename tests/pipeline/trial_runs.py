"""Runs of the command in this process, and what they wrote."""

import json

import pytest
import tensorflow as tf

from pipeline import run
from transforms.audioset.example import decode_example
from transforms.errors import SettingError

TRIAL = [
    "--runner=FnApiRunner",
    "--weights=random:0",
    "--pca_params=none",
    "--batch_size=8",
    "--max_reject_fraction=1",
]


REJECTED, UNMATCHED = "rejected-00000-of-00001.jsonl", "unmatched-00000-of-00001.jsonl"


def read(folder) -> dict:
    records = {}
    for path in folder.glob("*/*.tfrecord"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            segment, frames = decode_example(record, path.parent.name)
            records[segment.video_id] = segment, frames
    return records


def json_lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refusal(argv) -> str:
    with pytest.raises(SettingError) as caught:
        run.run(argv)
    return str(caught.value)


def shards(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.tfrecord")}


def account(folder) -> dict:
    return json.loads((folder / "_run" / "manifest.json").read_text())["account"]


def totals(folder) -> tuple[int, ...]:
    """Clips expected, written, rejected, already there."""
    outcomes = ("expected", "written", "rejected", "existing")
    return tuple(sum(account(folder)[outcome].values()) for outcome in outcomes)
