import hashlib

import numpy as np
from feature_chunks import SEGMENTS, pieces_of

from transforms.audioset.example import decode_example
from transforms.audioset.segments import Segment
from transforms.clips import Clip, ClipChunk, ExistingClip, RejectedClip
from transforms.errors import Reason
from transforms.features.assemble_clips import AssembledClip, assemble_clips, decide, reject_displaced
from transforms.features.sources import Source


def source_of(file: str, offset: int | None = None) -> Source:
    return Source.of(Clip("train", "xy", file, offset))


def test_the_duplicate_that_sorts_first_becomes_the_record():
    segment = SEGMENTS[0]
    chunks = [
        *pieces_of(segment, file="b.wav"),
        *pieces_of(segment, file="a.wav"),
        *pieces_of(segment, file="c.wav"),
    ]
    decisions = decide(assemble_clips(chunks), [], [], {})
    assert [clip.chunk.file for clip in decisions.written] == ["a.wav"]
    assert [(r.file, r.reason, r.video_id) for r in decisions.rejected] == [
        ("b.wav", Reason.DUPLICATE, "abc"),
        ("c.wav", Reason.DUPLICATE, "abc"),
    ]


def test_a_clip_that_was_rejected_is_left_out():
    begun, whole = pieces_of(SEGMENTS[0], file="a.wav")[:1], pieces_of(SEGMENTS[1])
    records = assemble_clips([*begun, *whole])
    assert [decode_example(clip.record, "train")[0] for clip in records] == [SEGMENTS[1]]
    # Nor does it stand in the way of a sound one for the same record.
    records = assemble_clips([*begun, *pieces_of(SEGMENTS[0], file="b.wav")])
    assert [clip.chunk.file for clip in records] == ["b.wav"]


def test_a_clip_without_one_of_its_chunks_is_left_out():
    for missing in range(3):
        chunks = pieces_of(SEGMENTS[0], num_chunks=3)
        del chunks[missing]
        assert assemble_clips(chunks) == []


def test_rejects_of_earlier_runs_name_the_current_input(tmp_path):
    (tmp_path / "b").touch()

    def chunk(file: str) -> ClipChunk:
        return ClipChunk(file, None, "train", "xy", 0.0, 0, Segment("train", "xy", 0.0, 1.0))

    new = AssembledClip(chunk(str(tmp_path / "a")), b"record")
    listed = RejectedClip("train", "xy", 0.0, str(tmp_path / "c"), None, "s", Reason.DUPLICATE, "b is this")
    prior = {("xy", 0): source_of(str(tmp_path / "b"))}
    decisions = decide([new], [], [listed], prior)
    assert decisions.written == [new] and decisions.rejected == [] and decisions.existing == []
    assert [(clip.file[-1], clip.message.split()[0][-1]) for clip in decisions.rejected_earlier] == [
        ("b", "a"),
        ("c", "a"),
    ]
    # The line stays as it is if there is no record.
    assert decide([], [], [listed], {}).rejected_earlier == [listed]
    existing = ExistingClip("train", "xy", 0.0, str(tmp_path / "b"), None, None, True)
    decisions = decide([], [existing], [listed], {})
    assert decisions.existing == [existing.key] and decisions.rejected_earlier[0].message.startswith(
        str(tmp_path / "b")
    )


def new_clip(file: str) -> AssembledClip:
    segment = Segment("train", "xy", 0.0, 1.0)
    return AssembledClip(ClipChunk(file, None, "train", "xy", 0.0, 0, segment), b"record")


def existing_clip(file: str, is_known: bool = True) -> ExistingClip:
    return ExistingClip("train", "xy", 0.0, file, 5, "hash", is_known)


def test_an_existing_record_stays_unless_the_new_input_sorts_first():
    stays = decide([new_clip("c.wav")], [existing_clip("b.tar")], [], {})
    assert stays.written == [] and stays.existing == [existing_clip("b.tar").key]
    assert [(clip.file, clip.message) for clip in stays.rejected] == [
        ("c.wav", "b.tar at 5 is this clip already; it sorts first")
    ]
    replaced = decide([new_clip("a.wav")], [existing_clip("b.tar")], [], {})
    assert [clip.chunk.file for clip in replaced.written] == ["a.wav"] and replaced.existing == []
    assert [(clip.file, clip.offset, clip.sha256) for clip in replaced.rejected] == [("b.tar", 5, "hash")]


def test_an_unknown_source_becomes_known():
    decisions = decide([], [existing_clip("b.tar", False), existing_clip("a.tar", False)], [], {})
    assert decisions.new_sources == {("xy", 0): source_of("a.tar", 5)}
    assert [clip.file for clip in decisions.rejected] == ["b.tar"]
    assert decide([], [existing_clip("b.tar")], [], {}).new_sources == {}


def test_a_record_is_replaced_if_its_source_was_computed_again_or_is_gone(tmp_path):
    here = tmp_path / "a.wav"
    here.touch()
    prior = {("xy", 0): source_of(str(here))}
    later = new_clip(str(tmp_path / "b.wav"))
    assert decide([later], [], [], prior).written == []
    again = new_clip(str(here))
    assert decide([again], [], [], prior).written == [again]
    here.unlink()
    assert decide([later], [], [], prior).written == [later]


def test_the_hash_of_a_displaced_file_is_known_and_that_of_a_shards_clip_is_not(tmp_path):
    path = tmp_path / "b.wav"
    path.write_bytes(b"audio")
    clip = Segment("train", "xy", 2.5, 3.0)
    line = reject_displaced(clip, source_of(str(path)), source_of("a.wav"))
    assert (line.key, line.file, line.offset) == (clip.key, str(path), None)
    assert line.sha256 == hashlib.sha256(b"audio").hexdigest()
    assert line.reason is Reason.DUPLICATE and line.message.startswith("a.wav is this clip already")
    of_shard = reject_displaced(clip, source_of(str(path), 7), source_of("a.wav"))
    assert (of_shard.offset, of_shard.sha256) == (7, None)


def test_frames_of_all_chunks_are_joined_in_order():
    segment = SEGMENTS[0]
    (clip,) = assemble_clips(pieces_of(segment, num_chunks=3)[::-1])
    expected = np.concatenate([frames for _, frames in pieces_of(segment, num_chunks=3)])
    np.testing.assert_array_equal(decode_example(clip.record, "train")[1], expected)
    assert clip.key == ("abc", 0) and clip.source == source_of("a.wav")
