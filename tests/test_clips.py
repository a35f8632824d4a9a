import hashlib
import json

import pytest

from transforms import redact
from transforms.audioset.segments import Segment
from transforms.clips import Clip, ClipChunk, ExistingClip, RejectedClip, Unmatched, reject
from transforms.errors import ClipError, Reason

ERROR = ClipError(Reason.CORRUPT, "damaged")
REJECTED = RejectedClip("eval", "é\n", 1.5, "s.tar", 7, "read_clips", Reason.CORRUPT, "message", "abc")


def test_the_json_of_a_rejected_clip_is_stable_and_read_back():
    assert list(REJECTED.to_json().items()) == [
        ("id", "é\n"),
        ("split", "eval"),
        ("start_s", 1.5),
        ("file", "s.tar"),
        ("offset", 7),
        ("stage", "read_clips"),
        ("reason", "corrupt"),
        ("message", "message"),
        ("sha256", "abc"),
    ]
    line = json.dumps(REJECTED.to_json() | {"added_later": 1})
    assert RejectedClip.from_json(line) == RejectedClip.from_row(json.loads(line)) == REJECTED


def test_the_json_of_a_rejected_clip_has_no_secret(monkeypatch):
    monkeypatch.setattr(redact, "_remembered", {})
    monkeypatch.setattr(redact, "_pattern", None)
    redact.remember_environment({"MY_SECRET": "secret-of-eight"})
    clip = RejectedClip("eval", "x", 0.0, "x", None, "s", Reason.CORRUPT, "it has secret-of-eight")
    assert clip.to_json()["message"] == "it has ***"


@pytest.mark.parametrize(
    "change",
    [
        *({"id": 1}, {"offset": "7"}, {"offset": 0.5}, {"start_s": "1"}, {"start_s": float("nan")}),
        *({"sha256": 1}, {"reason": "none"}, {"split": None}, {"message": []}),
    ],
    ids=str,
)
def test_a_line_with_a_wrong_value_is_an_error(change):
    with pytest.raises(ValueError, match=r"not a rejected clip|not a valid Reason"):
        RejectedClip.from_json(json.dumps(REJECTED.to_json() | change))


@pytest.mark.parametrize("line", ["", "{", "[]", "1", '"x"', "{}", "[" * 100_000])
def test_a_line_without_a_clip_is_an_error(line):
    with pytest.raises(ValueError):
        RejectedClip.from_json(line)


def test_the_key_of_a_rejected_clip_without_an_id_is_its_file():
    assert REJECTED.key == ("eval", "é\n", 1500)
    folder = RejectedClip("eval", "", 0.0, "/a", None, "s", Reason.UNREADABLE, "m")
    assert folder.key == ("eval", "/a", 0) and folder.is_folder
    fault = RejectedClip("eval", "", 0.0, "/a", 0, "s", Reason.BAD_RECORD, "m")
    assert not fault.is_folder and not REJECTED.is_folder


def test_the_hash_of_a_rejected_clip_is_that_of_its_encoded_audio(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"file")
    of_file, of_shard = (hashlib.sha256(data).hexdigest() for data in (b"file", b"shard"))
    shard_clip = Clip("train", "x", "s.tar", 512, audio=b"shard")
    assert shard_clip.sha256 == of_shard and Clip("train", "x", "a.wav").sha256 is None
    for clip, expected in (
        (Clip("train", "x", str(path)), of_file),
        (Clip("train", "x", str(tmp_path / "gone")), None),
        (shard_clip, of_shard),
        (ClipChunk(str(path), None, "train", "x", 0.0, 0, None), of_file),
        (ClipChunk("s.tar", 512, "train", "x", 0.0, 0, None, of_shard), of_shard),
        (ClipChunk("s.tar", 512, "train", "x", 0.0, 0, None), None),
        (ExistingClip("train", "x", 0.0, str(path), None, None, True), of_file),
        (ExistingClip("train", "x", 0.0, "s.tar", 512, of_shard, True), of_shard),
    ):
        rejected = reject(clip, "stage", ERROR)
        assert (rejected.sha256, rejected.key) == (expected, clip.key)
        assert (rejected.file, rejected.offset, rejected.stage) == (clip.file, clip.offset, "stage")
        assert (rejected.reason, rejected.message) == (Reason.CORRUPT, "damaged")


def test_unmatched_files_and_segments():
    segment = Segment("eval", "x", 1.0, 2.0)
    assert Unmatched(segment=segment).to_json() == {
        "kind": "segment_without_file",
        "id": "x",
        "split": "eval",
        "start_s": 1.0,
        "end_s": 2.0,
    }
    of_file = Unmatched(file="s.tar", video_id="y")
    assert of_file.to_json() == {"kind": "file_without_segment", "file": "s.tar", "id": "y"}
