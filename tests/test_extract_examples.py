import io

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.testing.util import assert_that, equal_to
from sounds import noise, write_bad_files, write_noise

from transforms.audio.log_mel import log_mel_examples
from transforms.audioset.segments import Segment
from transforms.clips import Clip
from transforms.errors import ClipError, Reason
from transforms.extract_examples import ExtractExamples, extract_examples
from transforms.vggish.params import Framing

RATE_HZ = 16_000
SEGMENT = Segment("eval", "id", 3.0, 7.0, (1,))


def wav(samples: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="DOUBLE")
    file.seek(0)
    return file


def examples_of(samples: np.ndarray) -> np.ndarray:
    return log_mel_examples(samples[:, 0])


def test_a_whole_file_lasts_from_0_to_its_duration():
    segment, examples = extract_examples(wav(noise(2.5)), Clip("x", "train", "x.wav"))
    assert segment == Segment("train", "x", 0.0, 2.5)
    assert examples.shape == (2, 96, 64)


def test_a_soundtrack_is_cut_to_its_segment():
    samples = noise(10.0)
    segment, examples = extract_examples(wav(samples), Clip("id", "eval", "", SEGMENT))
    assert segment == SEGMENT
    np.testing.assert_array_equal(examples, examples_of(samples[3 * RATE_HZ : 7 * RATE_HZ]))


def test_a_segment_that_ends_after_the_audio_is_kept_shorter_with_its_own_times():
    samples = noise(5.5)
    segment, examples = extract_examples(wav(samples), Clip("id", "eval", "", SEGMENT))
    assert segment == SEGMENT
    np.testing.assert_array_equal(examples, examples_of(samples[3 * RATE_HZ :]))


@pytest.mark.parametrize("duration_s", [3.5, 4.0, 4.5])
def test_a_file_about_as_long_as_its_segment_is_not_cut_again(duration_s):
    samples = noise(duration_s)
    _, examples = extract_examples(wav(samples), Clip("id", "eval", "", SEGMENT))
    np.testing.assert_array_equal(examples, examples_of(samples))


def test_a_file_named_with_its_time_is_not_cut_again_whatever_its_length():
    samples = noise(9.0)
    _, examples = extract_examples(wav(samples), Clip("id", "eval", "", SEGMENT, is_cut=True))
    np.testing.assert_array_equal(examples, examples_of(samples))


def test_a_soundtrack_that_ends_before_its_segment_is_rejected():
    with pytest.raises(ClipError, match=r"2\.000 s of audio.*begins at 3.0 s") as caught:
        extract_examples(wav(noise(2.0)), Clip("id", "eval", "", SEGMENT))
    assert caught.value.reason == Reason.OUTSIDE_AUDIO


def test_too_short_says_how_long_it_is_and_what_is_needed():
    with pytest.raises(ClipError, match=r"0\.974 s of audio; one example takes 0\.975 s") as caught:
        extract_examples(wav(noise(0.974)), Clip("x", "train", "x.wav"))
    assert caught.value.reason == Reason.TOO_SHORT


def test_hop_is_that_of_the_framing():
    _, examples = extract_examples(wav(noise(2.5)), Clip("x", "train", ""), Framing(hop_s=0.5))
    assert len(examples) == 4


def test_bad_files_are_rejected_and_the_good_go_on(tmp_path):
    reasons = write_bad_files(tmp_path)
    good = write_noise(tmp_path / "good.wav", 1.0)
    (tmp_path / "folder.wav").mkdir()
    clips = [Clip(path.stem, "train", str(path)) for path in tmp_path.iterdir()]
    clips.append(Clip("gone", "train", str(tmp_path / "gone.wav")))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        extracted = pipeline | beam.Create(clips) | ExtractExamples()
        examples = extracted.examples | beam.MapTuple(lambda segment, e: (segment, e.shape))
        assert_that(
            examples, equal_to([(Segment("train", good.stem, 0.0, 1.0), (1, 96, 64))]), label="examples"
        )
        rejected = extracted.rejected | beam.Map(lambda r: (r.video_id, r.reason.value))
        expected = {**reasons, "folder": "unreadable", "gone": "unreadable"}
        assert_that(rejected, equal_to(list(expected.items())), label="rejected")
