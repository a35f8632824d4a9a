import hashlib

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from sounds import write_bad_files, write_noise

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audio.paddings import REPEAT
from transforms.audioset.example import encode_example
from transforms.audioset.layout import Sharding
from transforms.audioset.segments import Segment
from transforms.clips import Clip
from transforms.extract_examples import ExtractExamples
from transforms.features.existing_records import ExistingRecords
from transforms.features.folder_shards import ShardNotes
from transforms.storage.tfrecord import frame_records


def test_the_end_of_a_recording_that_does_not_fill_a_frame_is_not_a_clip(tmp_path):
    path = write_noise(tmp_path / "x.wav", 4.5)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        clips = pipeline | beam.Create([Clip("train", "x", str(path))])
        extracted = clips | ExtractExamples(segment_s=2.0)
        assert_that(extracted.extra_clips, equal_to([("train", "x", 2_000)]), label="further")
        assert_that(extracted.rejected, equal_to([]), label="rejected")


def test_a_short_clip_is_padded_and_the_end_of_a_recording_is_not(tmp_path):
    paths = [
        write_noise(tmp_path / f"{name}.wav", duration_s) for name, duration_s in (("x", 4.5), ("y", 0.5))
    ]
    clips = [Clip("train", path.stem, str(path)) for path in paths]
    stage = ExtractExamples(Extraction(padding=REPEAT), segment_s=2.0)
    found = {(chunk.video_id, chunk.start_s): chunk.segment.end_s for chunk, _ in stage.extract(clips)}
    assert found == {("x", 0.0): 2.0, ("x", 2.0): 4.0, ("y", 0.0): 0.5}


def test_bad_files_are_rejected_and_good_ones_are_extracted(tmp_path):
    reasons = write_bad_files(tmp_path)
    good = write_noise(tmp_path / "good.wav", 1.0)
    (tmp_path / "folder.wav").mkdir()
    clips = [Clip("train", path.stem, str(path)) for path in tmp_path.iterdir()]
    file_of = {path.stem: path.name for path in tmp_path.iterdir()}
    clips.append(Clip("train", "gone", str(tmp_path / "gone.wav")))
    clips.append(Clip("train", "shard", "s.tar", 512, audio=good.read_bytes()))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        extracted = pipeline | beam.Create(clips) | ExtractExamples()
        examples = extracted.examples | beam.MapTuple(lambda chunk, e: (chunk.segment, e.shape))
        expected = [(Segment("train", name, 0.0, 1.0), (1, 96, 64)) for name in ("good", "shard")]
        assert_that(examples, equal_to(expected), label="examples")
        rejected = extracted.rejected | beam.Map(lambda r: (r.video_id, r.reason.value))
        expected = {**reasons, "folder": "unreadable", "gone": "unreadable"}
        assert_that(rejected, equal_to(list(expected.items())), label="rejected")
        hashes = extracted.rejected | "Hashes" >> beam.Map(lambda r: (r.video_id, r.sha256))
        expected = {
            name: hashlib.sha256((tmp_path / file_of[name]).read_bytes()).hexdigest() for name in reasons
        }
        expected = {**expected, "folder": None, "gone": None}
        assert_that(hashes, equal_to(list(expected.items())), label="hashes")


def test_only_the_damaged_rest_of_a_recording_is_rejected(tmp_path):
    flac = write_noise(tmp_path / "x.flac", 10.0)
    data = flac.read_bytes()
    flac.write_bytes(data[: round(0.55 * len(data))])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        clips = pipeline | beam.Create(
            [Clip("train", "x", str(flac)), Clip("train", "y", "s.tar", 5, audio=data[:-999])]
        )
        extracted = clips | ExtractExamples(segment_s=2.0)
        starts = extracted.examples | beam.MapTuple(lambda chunk, _: (chunk.video_id, chunk.start_s))
        whole = [("x", 0.0), ("x", 2.0), *[("y", start_s) for start_s in (0.0, 2.0, 4.0, 6.0)]]
        assert_that(starts, equal_to(whole), label="whole")
        rejected = extracted.rejected | beam.Map(lambda r: (r.video_id, r.start_s, r.reason.value, r.sha256))
        hashes = [hashlib.sha256(part).hexdigest() for part in (flac.read_bytes(), data[:-999])]
        expected = [("x", 4.0, "corrupt", hashes[0]), ("y", 8.0, "corrupt", hashes[1])]
        assert_that(rejected, equal_to(expected), label="rejected")
        further = [("train", "x", ms) for ms in (2_000, 4_000)] + [
            ("train", "y", ms) for ms in (2_000, 4_000, 6_000, 8_000)
        ]
        assert_that(extracted.extra_clips, equal_to(further), label="further")


@pytest.mark.parametrize(
    "seconds, starts, expected",
    [
        (0.5, [], [("rejected", "too_short")]),
        (4.5, [], [("examples", 0.0), ("examples", 2.0), ("extra_clips", 2_000)]),
        (4.5, [0], [("existing", 0.0), ("examples", 2.0), ("extra_clips", 2_000)]),
        (4.5, [0, 2], [("existing", 0.0), ("extra_clips", 2_000), ("existing", 2.0)]),
        # It was longer, or another has its name.
        (0.5, [0, 2], [("existing", 0.0)]),
    ],
)
def test_each_clip_of_a_recording_in_a_later_run_has_one_outcome(tmp_path, seconds, starts, expected):
    """A clip after the first is counted besides."""
    frames = np.zeros((2, 128), np.uint8)
    records = [encode_example(Segment("train", "x1", start, start + 2.0), frames) for start in starts]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x1.tfrecord").write_bytes(frame_records(records))
    ShardNotes(str(tmp_path)).begin(["train/x1.tfrecord"])
    existing = ExistingRecords(str(tmp_path), Sharding(), ShardNotes(str(tmp_path)))
    clip = Clip("train", "x1", str(write_noise(tmp_path / "x1.wav", seconds)))
    extract = ExtractExamples(segment_s=2.0, records=existing)._do_fn()
    shown = {"extra_clips": lambda key: key[2], "rejected": lambda clip: clip.reason.value}
    found = []
    for output in extract._outputs(clip, InProcessDecoder()):
        tagged = output if isinstance(output, TaggedOutput) else TaggedOutput("examples", output[0])
        show = shown.get(tagged.tag, lambda clip: clip.start_s)
        found.append((tagged.tag, show(tagged.value)))
    assert found == expected
