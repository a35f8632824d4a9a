import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from sounds import noise

from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audio.extraction import MAX_EXAMPLES, Extraction
from transforms.audioset.segments import Segment
from transforms.clip_chunks import chunk_clip, clip_spans, cut_recording, nth_clip
from transforms.clips import Clip
from transforms.errors import ClipError, Reason
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


@pytest.mark.parametrize("duration_s", [2.0, 3.0])
def test_a_soundtrack_that_ends_before_its_segment_is_rejected(duration_s):
    with pytest.raises(ClipError, match=rf"ends at {duration_s:.3f} s.*begins at 3\.0 s") as caught:
        extract(wav(noise(duration_s)), SEGMENT)
    assert caught.value.reason == Reason.OUTSIDE_AUDIO


def test_each_end_of_a_segment_is_rounded_to_a_sample():
    clip = replace(SEGMENT, start_s=3.00003, end_s=7.00004)  # samples 48000.48 and 112000.64
    ((_, span),) = clip_spans(wav(noise(9.0)), clip, None)
    assert (span.start, span.stop) == (48_000, 112_001)


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


@pytest.mark.parametrize(("duration_s", "num_clips"), [(7.0, 3), (6.0, 3), (5.9, 2), (0.5, 1)])
def test_the_header_gives_the_clips_of_a_recording(duration_s, num_clips):
    """The last clip needs one example, which takes 0.975 s."""
    clips = cut_recording(wav(noise(duration_s)), WHOLE, 2.5, Framing())
    assert [clip.start_s for clip in clips] == [0.0, 2.5, 5.0][:num_clips]
    assert clips == [nth_clip(WHOLE, number, 2.5) for number in range(num_clips)]


def test_the_last_chunk_has_the_hash_of_the_audio():
    for clip, span in clip_spans(wav(noise(2 * MAX_EXAMPLES)), WHOLE, None):
        hashes = [chunk.sha256 for chunk, _ in chunk_clip(clip, span, sha256="abc")]
    assert len(hashes) > 1 and hashes == [None] * (len(hashes) - 1) + ["abc"]
