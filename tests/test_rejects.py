import json

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from transforms.clips import Clip, RejectedClip
from transforms.errors import Reason, SettingError
from transforms.rejects import (
    READ,
    TRIED,
    KeepRejected,
    RejectFiles,
    RejectIndex,
    TriedClip,
    _kept,
    read_rejected,
)


def rejection(name="a", file="a.wav", offset=None, start_s=0.0, reason=Reason.CORRUPT) -> RejectedClip:
    return RejectedClip("train", name, start_s, file, offset, "stage", reason, "why", None)


def write_list(path, clips) -> str:
    path.write_text("".join(json.dumps(clip.to_json(), ensure_ascii=False) + "\n" for clip in clips))
    return str(path)


@given(
    st.builds(
        RejectedClip,
        split=st.text(),
        video_id=st.text(),
        start_s=st.floats(0, 1e6),
        file=st.text(),
        offset=st.none() | st.integers(0, 2**60),
        stage=st.text(),
        reason=st.sampled_from(Reason),
        message=st.text(),
        sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    )
)
def test_a_line_is_read_back_as_the_same_clip(clip):
    assert RejectedClip.from_json(json.dumps(clip.to_json())) == clip


def test_the_message_names_the_line_of_a_malformed_list(tmp_path):
    path = write_list(tmp_path / "r.jsonl", [rejection()])
    with open(path, "a") as file:
        file.write('{"id": "b"}\n')
    with pytest.raises(SettingError, match=r"r\.jsonl, line 2: not a rejected clip"):
        list(read_rejected(path))
    with pytest.raises(SettingError, match="cannot be read"):
        RejectFiles.of([str(tmp_path / "none")])


def test_only_the_rejected_clips_are_covered():
    index = RejectIndex(
        [
            rejection("a", "a.wav"),
            rejection("b", "cut.wav", start_s=20.0),
            rejection("c", "s.tar", 512),
            rejection("", "t.tar", 1024),
        ]
    )
    assert index.files == ["a.wav", "cut.wav", "s.tar", "t.tar"]
    assert index.covers(Clip("train", "a", "a.wav"))
    assert not index.covers(Clip("train", "b", "a.wav"))
    assert not index.covers(Clip("eval", "a", "a.wav"))
    assert not index.covers(Clip("train", "a", "other.wav"))
    # A soundtrack's other segments are not, a recording is for any of its clips.
    assert index.covers(Clip("train", "b", "cut.wav", start_s=20.0, end_s=30.0))
    assert not index.covers(Clip("train", "b", "cut.wav", start_s=10.0, end_s=20.0))
    assert index.covers(Clip("train", "b", "cut.wav"))
    assert index.covers(Clip("train", "c", "s.tar", 512))
    assert not index.covers(Clip("train", "c", "s.tar", 2048))
    # A fault that hides its clip, and perhaps the rest.
    assert index.covers(Clip("train", "any", "t.tar", 1024))
    assert index.covers(Clip("train", "any", "t.tar", 2048))
    assert not index.covers(Clip("train", "any", "t.tar", 512))
    # The first of several faults counts, and a recording that begins after a reject does not contain it.
    for faults in ([1024, 4096], [4096, 1024]):
        of_two = RejectIndex([rejection("", "t.tar", offset) for offset in faults])
        assert of_two.covers(Clip("train", "any", "t.tar", 2048))
        assert not of_two.covers(Clip("train", "any", "t.tar", 1023))
    assert index.covers(Clip("train", "b", "cut.wav", start_s=20.0))
    assert not index.covers(Clip("train", "b", "cut.wav", start_s=20.5))


def test_rejects_that_a_run_does_not_revisit_are_kept(tmp_path):
    clips = [
        rejection("a", "a.wav"),
        rejection("b", "b.wav"),
        rejection("c", "s.tar", 5),
        rejection("d", "s.tar", 9),
    ]
    earlier = [write_list(tmp_path / "1.jsonl", clips), write_list(tmp_path / "2.jsonl", clips[:1])]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        kept = pipeline | beam.Create(["b.wav", "new.wav"]) | KeepRejected(earlier)
        assert_that(kept, equal_to([clips[0], clips[2], clips[3]]))
    tried = RejectFiles.of([write_list(tmp_path / "tried.jsonl", [clips[2]])])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | "Found" >> beam.Create([Clip("train", "c", "s.tar", 5)])
        read = pipeline | beam.Create(["s.tar"])
        kept = {READ: read, TRIED: found} | KeepRejected(earlier, tried)
        assert_that(kept, equal_to([clips[0], clips[1], clips[3]]))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(["a.wav"]) | KeepRejected([]), equal_to([]))


def test_a_clip_that_the_run_does_not_find_is_not_tried(tmp_path):
    """For example with another --split: no clip matches the line, so the line stays."""
    part, whole = rejection("a", "a.wav", start_s=20.0), rejection("b", "b.wav")
    hidden = rejection("", "t.tar", 512)
    path = write_list(tmp_path / "r.jsonl", [part, whole, hidden])
    tried = RejectFiles.of([path])

    def kept(*clips: Clip) -> list[RejectedClip]:
        rows = [tuple(TriedClip.of(clip)) for clip in clips if clip.file == "a.wav"]
        group = "a.wav", {"earlier": [part], READ: [None], TRIED: rows}
        return list(_kept(group, tried, (), "train"))

    assert kept(Clip("eval", "a", "a.wav")) == [part] == kept()
    assert kept(Clip("train", "a", "a.wav", start_s=10.0, end_s=20.0)) == [part]
    assert kept(Clip("train", "a", "a.wav")) == [] == kept(Clip("train", "a", "a.wav", None, 20.0, 30.0))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | beam.Create(["b.wav", "t.tar"])
        found = pipeline | "Found" >> beam.Create([Clip("eval", "b", "b.wav")])
        lines = {READ: read, TRIED: found} | KeepRejected([path], tried, split="train")
        assert_that(lines, equal_to([part, whole]))
    # From a fault on, the clips of one split were hidden.
    group = "t.tar", {"earlier": [hidden], READ: [None], TRIED: []}
    assert list(_kept(group, tried, (), "eval")) == [hidden]
