import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st
from segments_of_a_corpus import SEGMENTS

from transforms.audio_shards.items import ShardClip, parse_columns
from transforms.audio_shards.read import read_shard
from transforms.audioset.names import compile_id_pattern
from transforms.audioset.segments import SegmentTable
from transforms.clips import Clip, Unmatched
from transforms.errors import ClipError, Reason
from transforms.inputs.input_clips import file_clips, shard_clips
from transforms.write_shards import MAX_FILE_BYTES, Packed, PackSettings, WriteShards, _read, pack_clip

TABLE = SegmentTable(SEGMENTS)


def clip_values(clip: Clip) -> tuple:
    """What of a clip makes its record."""
    return *clip.key, clip.end_s, clip.labels, clip.is_cut


@pytest.mark.parametrize("table", [None, TABLE])
@given(
    names=st.lists(st.sampled_from([s.video_id for s in SEGMENTS] + ["other"]), max_size=3), data=st.data()
)
def test_a_clip_read_from_a_shard_is_the_clip_of_the_file(table, names, data):
    times = ["", "_12.345", "_12345_14000", "_30.000", "_5", "_99"]
    pattern = compile_id_pattern(r"/x/(?P<id>.+?)(?:_(?P<start>[0-9.]+).*)?\.wav")
    for name in names:
        path = f"/x/{name}{data.draw(st.sampled_from(times))}.wav"
        clips = file_clips(path, "train", table, pattern)
        if not clips:
            continue
        item = pack_clip(clips, None, table is not None, b"audio")
        again = shard_clips("s", item, "train", table, None)
        assert list(map(clip_values, again)) == list(map(clip_values, clips))
        if item.end_s is not None:  # the shard says it all
            assert list(map(clip_values, shard_clips("s", item, "train", None, None))) == list(
                map(clip_values, clips)
            )


def test_fields_of_a_packed_clip():
    whole, cut = (
        Clip("eval", "x", "x.wav", end_s=2.0, is_cut=False),
        Clip("eval", "x", "x.wav", None, 1.0, 2.0, (3,)),
    )
    assert pack_clip([whole], "mine", False, b"1") == ShardClip(0, "x", b"1", split="mine")
    assert pack_clip([whole], "mine", True, b"1") == ShardClip(0, "x", b"1")
    assert pack_clip([cut], None, True, b"1") == ShardClip(0, "x", b"1", 1.0, 2.0, (3,), "eval")
    assert pack_clip([cut, cut], None, True, b"1") == ShardClip(0, "x", b"1", 1.0)


@pytest.fixture
def files(tmp_path):
    """Two files, a shard among them, and one without an id; any bytes are packed as they are."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for name, data in (("a1.wav", b"one"), ("a2.wav", b"two"), ("b.txt", b"three"), ("a3.wav", b"PAR1")):
        (folder / name).write_bytes(data)
    return folder


def test_files_with_clips_are_packed_once_and_the_rest_is_listed(files, tmp_path):
    settings = PackSettings("mine", id_pattern=compile_id_pattern(r"/(?P<id>a\d)\.wav"))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        globs = [f"{files}/*", f"{files}/*.wav"]
        written = pipeline | WriteShards(globs, str(tmp_path / "out"), "tar", 10**6, settings)
        assert_that(written.packed, equal_to([Packed(2, 0)]), label="packed")
        assert_that(written.unmatched, equal_to([Unmatched(file=f"{files}/b.txt")]), label="unmatched")
        found = written.files | beam.Map(lambda file: (file[0].rsplit("/", 1)[1], file[1]))
        assert_that(found, equal_to([("a1.wav", 3), ("a2.wav", 3), ("a3.wav", 4)]), label="files")
        rejected = written.rejected | beam.Map(lambda clip: (clip.video_id, clip.reason))
        assert_that(rejected, equal_to([("a3", Reason.NOT_AUDIO)]), label="rejected")
        assert_that(written.unlisted, equal_to([]), label="unlisted")
    with open(tmp_path / "out" / "audio-00000-of-00001.tar", "rb") as file:
        items = list(read_shard("tar", file, parse_columns()))
    assert [(item.video_id, item.audio, item.split) for item in items] == [
        ("a1", b"one", "mine"),
        ("a2", b"two", "mine"),
    ]


def test_a_file_is_read_up_to_its_limit_even_if_reads_return_less(monkeypatch, tmp_path):
    class Slow:
        def __init__(self, left: int):
            self.left = left

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size: int) -> bytes:
            size = min(size, self.left, 3)
            self.left -= size
            return bytes(size)

    monkeypatch.setattr("transforms.write_shards.MAX_FILE_BYTES", 9)
    for size, read in ((8, 8), (9, 9), (10, 10), (50, 10)):
        monkeypatch.setattr("transforms.write_shards.open_file", lambda path, size=size: Slow(size))
        assert len(_read("x")) == read
    assert MAX_FILE_BYTES > 10**6


def test_a_file_that_cannot_be_read_is_unreadable(tmp_path):
    with pytest.raises(ClipError) as caught:
        _read(str(tmp_path / "none.wav"))
    assert caught.value.reason is Reason.UNREADABLE
