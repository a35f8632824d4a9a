import hashlib
import json

import apache_beam as beam
import making
import pytest
from apache_beam.testing.util import assert_that, equal_to
from sounds import write_noise

from transforms.audio_shards.items import ShardClip
from transforms.audio_shards.read import READERS
from transforms.audioset.segments import Segment
from transforms.clips import Clip, RejectedClip, Unmatched
from transforms.errors import Reason
from transforms.inputs.read_segments import SegmentFiles
from transforms.read_clips import ClipSettings, ReadClips, clips_of_file, outputs_of_file
from transforms.rejects import RejectFiles


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nlibrary's own"), KeyError("x"), RecursionError(), TypeError()]
)
def test_any_error_of_a_reader_is_a_fault_of_its_shard(error, tmp_path, monkeypatch):
    def read_two(file, columns):
        yield ShardClip(7, "a", b"1")
        raise error

    monkeypatch.setitem(READERS, "tar", read_two)
    (tmp_path / "a.tar").write_bytes(making.tar([("a.wav", b"1")]))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = pipeline | ReadClips([f"{tmp_path}/*"], ClipSettings("train"))
        clips = inputs.clips | "Ids" >> beam.Map(lambda clip: clip.video_id)
        assert_that(clips, equal_to(["a"]), label="clips")
        faults = inputs.rejected | "Faults" >> beam.Map(
            lambda bad: (bad.reason, bad.offset, type(error).__name__ in bad.message, "\n" in bad.message)
        )
        assert_that(faults, equal_to([(Reason.TRUNCATED_SHARD, 7, True, False)]), label="faults")


@pytest.fixture
def segment_files(tmp_path):
    labels = tmp_path / "class_labels_indices.csv"
    labels.write_text('index,mid,display_name\n0,/m/a,"A, b"\n1,/m/b,B\n')
    csv = tmp_path / "eval_segments.csv"
    csv.write_text('# YTID\nid1, 0.000, 10.000, "/m/b,/m/a"\nid2, 5.000, 15.000, "/m/b"\n')
    return SegmentFiles.of([("eval", str(csv))], str(labels))


def test_read_clips_joins_files_and_segments_and_lists_the_rest(tmp_path, segment_files):
    audio = tmp_path / "audio"
    for name in ("id1.wav", "sub/id1.flac", "stranger.wav"):
        write_noise(audio / name, 1.0)
    settings = ClipSettings("train", segments=segment_files)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = pipeline | ReadClips([f"{audio}/**", f"{audio}/*.wav"], settings)
        expected = [
            Clip("eval", "id1", f"{audio}/{name}", None, 0.0, 10.0, (0, 1), False)
            for name in ("id1.wav", "sub/id1.flac")
        ]
        assert_that(inputs.clips, equal_to(expected), label="clips")
        unmatched = [
            Unmatched(file=f"{audio}/stranger.wav"),
            Unmatched(segment=Segment("eval", "id2", 5.0, 15.0, (1,))),
        ]
        # One unmatched file, though two globs match it.
        assert_that(inputs.unmatched, equal_to(unmatched), label="unmatched")
        assert_that(inputs.rejected, equal_to([]), label="rejected")


def test_segments_without_audio_are_not_listed_if_only_rejects_are_read(tmp_path, segment_files):
    """A run over the rejects reads a few files, and most segments have their audio in others."""
    write_noise(tmp_path / "id1.wav", 1.0)
    line = RejectedClip("eval", "id1", 0.0, f"{tmp_path}/id1.wav", None, "s", Reason.CORRUPT, "m", None)
    (tmp_path / "rejects").write_text(json.dumps(line.to_json()) + "\n")
    rejects = RejectFiles.of([f"{tmp_path}/rejects"])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = pipeline | ReadClips([], ClipSettings("train", segments=segment_files, rejects=rejects))
        ids = inputs.clips | "Ids" >> beam.Map(lambda clip: (clip.split, clip.video_id))
        assert_that(ids, equal_to([("eval", "id1")]), label="clips")
        assert_that(inputs.unmatched, equal_to([]), label="unmatched")


def test_a_clip_of_a_shard_with_a_bad_label_has_the_hash_of_its_audio(tmp_path, monkeypatch):
    def read(file, columns):
        yield ShardClip(7, "a", b"audio", labels=(2**31,))

    monkeypatch.setitem(READERS, "tar", read)
    (tmp_path / "a.tar").touch()
    (fault,) = outputs_of_file(f"{tmp_path}/a.tar", ClipSettings("train", "tar"))
    assert (fault.video_id, fault.offset, fault.reason) == ("a", 7, Reason.BAD_RECORD)
    assert fault.sha256 == hashlib.sha256(b"audio").hexdigest()


def reader_that_raises(file, columns):
    yield ShardClip(7, "a", b"1")
    raise KeyError("no such\nfield")


@pytest.mark.parametrize("kind", ["tfrecord", "tar", "parquet"])
def test_any_error_of_a_reader_rejects_the_rest_of_its_shard(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, kind, reader_that_raises)
    path = tmp_path / "shard"
    path.write_bytes(b"1")
    with beam.Pipeline() as pipeline:
        read = pipeline | ReadClips([str(path)], ClipSettings("eval", kind))
        faults = read.rejected | beam.Map(lambda r: (r.file, r.offset, r.reason, r.message))
        assert_that(read.clips | beam.Map(lambda clip: clip.video_id), equal_to(["a"]), "clips")
        message = "the reader raises KeyError: 'no such\\nfield'; the rest of the shard is not read"
        assert_that(faults, equal_to([(str(path), 7, Reason.TRUNCATED_SHARD, message)]), "faults")


@pytest.mark.parametrize("error", [MemoryError, ImportError])
def test_missing_memory_or_packages_are_not_a_fault_of_the_shard(error, tmp_path, monkeypatch):
    def read(file, columns):
        yield ShardClip(7, "a", b"1")
        raise error

    monkeypatch.setitem(READERS, "tar", read)
    path = tmp_path / "shard"
    path.write_bytes(b"1")
    with pytest.raises(error):
        list(clips_of_file(str(path), ClipSettings("eval", "tar")))
