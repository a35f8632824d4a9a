import hashlib
import io

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.testing.util import assert_that, equal_to
from sounds import noise, write_bad_files, write_noise

from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audio.extraction import MAX_EXAMPLES, Extraction
from transforms.audioset.segments import Segment
from transforms.clip_chunks import chunk_clip, clip_spans
from transforms.clips import Clip
from transforms.errors import ClipError, Reason
from transforms.extract_examples import ExtractExamples
from transforms.pcm import pcm_windows
from transforms.vggish.params import Framing

RATE_HZ = 16_000
WHOLE = Clip("train", "x", "x.wav")
# Of a soundtrack: from 3 to 7 s.
SEGMENT = Clip("eval", "id", "id.wav", start_s=3.0, end_s=7.0, labels=(1,), is_cut=False)


def wav(samples: np.ndarray, rate_hz: int = RATE_HZ) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="DOUBLE")
    return file


def extract(file, clip: Clip, segment_s: float | None = None, framing: Framing = Framing()):
    """Return all (segment, examples) of a clip, with its chunks concatenated."""
    found = []
    for part, span in clip_spans(file, clip, segment_s):
        chunks = list(chunk_clip(part, span, Extraction(framing)))
        assert [chunk.index for chunk, _ in chunks] == list(range(len(chunks)))
        assert all(chunk.segment is None for chunk, _ in chunks[:-1])
        found.append((chunks[-1][0].segment, np.concatenate([examples for _, examples in chunks])))
    return found


def extract_one(file, clip: Clip, **options):
    (only,) = extract(file, clip, **options)
    return only


def examples_of(samples: np.ndarray) -> np.ndarray:
    return log_mel_examples(samples[:, 0])


def test_a_whole_file_lasts_from_0_to_its_duration():
    segment, examples = extract_one(wav(noise(2.5)), WHOLE)
    assert segment == Segment("train", "x", 0.0, 2.5)
    assert examples.shape == (2, 96, 64)


def test_a_soundtrack_is_cut_to_its_segment():
    samples = noise(10.0)
    segment, examples = extract_one(wav(samples), SEGMENT)
    assert segment == Segment("eval", "id", 3.0, 7.0, (1,))
    np.testing.assert_array_equal(examples, examples_of(samples[3 * RATE_HZ : 7 * RATE_HZ]))


def test_a_segment_that_ends_after_the_audio_has_fewer_examples_and_its_own_times():
    samples = noise(5.5)
    segment, examples = extract_one(wav(samples), SEGMENT)
    assert segment == Segment("eval", "id", 3.0, 7.0, (1,))
    np.testing.assert_array_equal(examples, examples_of(samples[3 * RATE_HZ :]))


@pytest.mark.parametrize("duration_s", [3.5, 4.0, 4.5])
def test_a_file_about_as_long_as_its_segment_is_not_cut_again(duration_s):
    samples = noise(duration_s)
    _, examples = extract_one(wav(samples), SEGMENT)
    np.testing.assert_array_equal(examples, examples_of(samples))


def test_a_file_named_with_its_time_is_not_cut_again_whatever_its_length():
    samples = noise(9.0)
    clip = Clip("eval", "id", "id_3.wav", start_s=3.0, end_s=7.0, is_cut=True)
    _, examples = extract_one(wav(samples), clip)
    np.testing.assert_array_equal(examples, examples_of(samples))


def test_a_soundtrack_that_ends_before_its_segment_is_rejected():
    with pytest.raises(ClipError, match=r"ends at 2\.000 s.*begins at 3\.0 s") as caught:
        extract(wav(noise(2.0)), SEGMENT)
    assert caught.value.reason == Reason.OUTSIDE_AUDIO


def test_the_message_for_short_audio_has_its_length_and_the_required_one():
    with pytest.raises(ClipError, match=r"0\.974 s of audio; one example takes 0\.975 s") as caught:
        extract(wav(noise(0.974)), WHOLE)
    assert caught.value.reason == Reason.TOO_SHORT


def test_the_hop_is_that_of_the_framing():
    assert len(extract_one(wav(noise(2.5)), WHOLE, framing=Framing(hop_s=0.5))[1]) == 4


def test_the_chunks_of_a_long_recording_together_are_all_its_examples():
    samples = noise(2.1 * MAX_EXAMPLES * 0.96)
    chunks = []
    for part, span in clip_spans(wav(samples), WHOLE, None):
        chunks += chunk_clip(part, span)
    assert len(chunks) == 3
    whole = np.concatenate([examples for _, examples in chunks])
    np.testing.assert_array_equal(whole, examples_of(samples))


@pytest.mark.parametrize("rate_hz", [16_000, 8_000, pytest.param(12_345, marks=pytest.mark.integration)])
def test_examples_for_the_accelerator_are_chunks_of_windows(rate_hz):
    samples = noise(1.1 * MAX_EXAMPLES * 0.96, rate_hz)
    found = []
    for extraction in (Extraction(), Extraction(windows=True)):
        for part, span in clip_spans(wav(samples, rate_hz), WHOLE, None):
            found.append(list(chunk_clip(part, span, extraction)))
    examples, windows = found
    assert len(examples) == 2
    assert all(len(own) == extraction.max_examples(rate_hz) for _, own in windows[:-1])
    assert windows[-1][0].segment == examples[-1][0].segment
    assert sum(len(own) for _, own in windows) == sum(len(own) for _, own in examples)
    whole = pcm_windows([samples[:, 0]], rate_hz)
    assert {own.rate_hz for _, own in windows} == {whole.rate_hz}
    np.testing.assert_array_equal(np.concatenate([own.samples for _, own in windows]), whole.samples)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_recording_is_cut_into_clips_as_if_each_were_a_file(rate_hz):
    samples = noise(7.0, rate_hz)
    found = extract(wav(samples, rate_hz), WHOLE, segment_s=2.5)
    times = [(segment.start_s, segment.end_s) for segment, _ in found]
    assert times == [(0.0, 2.5), (2.5, 5.0), (5.0, 7.0)]
    for segment, examples in found:
        own = samples[round(segment.start_s * rate_hz) : round(segment.end_s * rate_hz)]
        np.testing.assert_array_equal(examples, extract_one(wav(own, rate_hz), WHOLE)[1])


def test_clips_with_times_are_not_cut_again():
    assert len(extract(wav(noise(10.0)), SEGMENT, segment_s=1.0)) == 1


def test_the_end_of_a_recording_that_does_not_fill_a_frame_is_not_a_clip(tmp_path):
    path = write_noise(tmp_path / "x.wav", 4.5)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        clips = pipeline | beam.Create([Clip("train", "x", str(path))])
        extracted = clips | ExtractExamples(segment_s=2.0)
        assert_that(extracted.extra_clips, equal_to([("train", "x", 2_000)]), label="further")
        assert_that(extracted.rejected, equal_to([]), label="rejected")


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
