import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from sounds import write_noise

from transforms.audioset.names import compile_id_pattern
from transforms.audioset.segments import Segment, SegmentTable
from transforms.clips import Clip, Unmatched
from transforms.errors import Reason
from transforms.read_clips import ReadClips, choose_file, clip_key, clips_of_file
from transforms.read_segments import SegmentFiles

ONE = Segment("eval", "-abc_efghij", 30.0, 40.0, (3,))
TWO = Segment("eval", "-abc_efghij", 90.0, 100.0, (3,))
OTHER = Segment("bal_train", "zzzzzzzzzzz", 0.0, 10.0, (0, 5))
TABLE = SegmentTable([ONE, TWO, OTHER])


def test_a_file_is_one_clip_without_segments():
    assert clips_of_file("/a/b.c.wav", "train", None, None) == [Clip("b.c", "train", "/a/b.c.wav")]


def test_a_soundtrack_gives_a_clip_for_each_of_its_segments():
    clips = clips_of_file("/a/-abc_efghij.wav", "train", TABLE, None)
    assert [(c.segment, c.is_cut, c.split) for c in clips] == [(ONE, False, "eval"), (TWO, False, "eval")]


def test_a_name_with_a_time_gives_the_one_segment_already_cut():
    (clip,) = clips_of_file("/a/-abc_efghij_90.000.wav", "train", TABLE, None)
    assert (clip.segment, clip.is_cut) == (TWO, True)


def test_a_file_that_no_segment_names_gives_no_clip():
    assert clips_of_file("/a/unknown.wav", "train", TABLE, None) == []


def test_an_id_pattern_reads_other_names_and_passes_over_what_it_does_not_match():
    pattern = compile_id_pattern(r"/clip-(?P<id>\w+)-16k\.")
    assert clips_of_file("/a/clip-x1-16k.wav", "train", None, pattern) == [
        Clip("x1", "train", "/a/clip-x1-16k.wav")
    ]
    assert clips_of_file("/a/readme.txt", "train", None, pattern) == []


def test_the_path_that_sorts_first_is_the_clip_and_the_others_are_duplicates():
    paths = ["/b/x.wav", "/a/x.wav", "/a/x.flac"]
    clip, rejected = choose_file([Clip("x", "train", path) for path in paths])
    assert clip is not None and clip.file == "/a/x.flac"
    assert [(r.file, r.reason) for r in rejected] == [
        ("/a/x.wav", Reason.DUPLICATE),
        ("/b/x.wav", Reason.DUPLICATE),
    ]


def test_key_tells_segments_of_one_recording_apart():
    keys = {clip_key(clip) for clip in clips_of_file("/-abc_efghij.wav", "train", TABLE, None)}
    assert keys == {("eval", "-abc_efghij", 30_000), ("eval", "-abc_efghij", 90_000)}


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
    segment = Segment("eval", "id1", 0.0, 10.0, (0, 1))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = pipeline | ReadClips([f"{audio}/**", f"{audio}/*.wav"], "train", segment_files)
        assert_that(inputs.clips, equal_to([Clip("id1", "eval", f"{audio}/id1.wav", segment)]), label="clips")
        rejected = inputs.rejected | beam.Map(lambda r: (r.file, r.reason))
        assert_that(rejected, equal_to([(f"{audio}/sub/id1.flac", Reason.DUPLICATE)]), label="rejected")
        unmatched = [
            Unmatched(file=f"{audio}/stranger.wav"),
            Unmatched(segment=Segment("eval", "id2", 5.0, 15.0, (1,))),
        ]
        # One unmatched file, though two globs match it.
        assert_that(inputs.unmatched, equal_to(unmatched), label="unmatched")
