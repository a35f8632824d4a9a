import contextlib
import io
import pickle
import threading

import numpy as np
import pytest
from isolating import (
    BLOCK,
    CRASH,
    GOOD,
    HANG,
    KILLED,
    LONG,
    POISON,
    RATE_HZ,
    SLEEP,
    Remote,
    encoded,
    error_of,
    examples_in,
    m4a,
    marked,
    pid_of,
    read,
    sounding,
)
from sounds import noise, write_bad_files

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.audio.resamplers import RESAMPY, SOXR
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing


@pytest.mark.parametrize("kind", ["plain", "memory", "remote"])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3", "M4A"])
def test_every_bit_equals_decoding_in_this_process(decoder, tmp_path, container, kind):
    samples = noise(7.0, 44_100, 2)
    data = m4a(samples) if container == "M4A" else encoded(samples, container, 44_100)
    path = tmp_path / "file"
    path.write_bytes(data)
    with open(path, "rb") as plain:
        file = {"plain": plain, "memory": io.BytesIO(data), "remote": io.BufferedReader(Remote(data))}[kind]
        with InProcessDecoder().open(io.BytesIO(data)) as expected, decoder.open(file) as audio:
            assert audio.rate_hz == expected.rate_hz == 44_100
            blocks = list(audio.blocks())
            for block, own in zip(blocks, expected.blocks(), strict=True):
                assert block.tobytes() == own.tobytes()
        assert len(blocks) > 1
        assert decoder.duration_s(file) == InProcessDecoder().duration_s(io.BytesIO(data))


def test_bad_files_raise_the_same_errors_as_in_this_process(decoder, tmp_path):
    write_bad_files(tmp_path)
    (tmp_path / "slow.wav").write_bytes(encoded(noise(0.1), rate_hz=3_999))
    (tmp_path / "wide.wav").write_bytes(encoded(noise(0.1, channels=9)))
    (tmp_path / "box.m4a").write_bytes(m4a(noise(2.0, 44_100, 2))[:2_000])
    messages = []
    for path in sorted(tmp_path.iterdir()):
        with open(path, "rb") as file:
            for measure in (lambda d, file: d.duration_s(file), read):
                outcomes = []
                for each in (decoder, InProcessDecoder()):
                    try:
                        outcomes.append(str(measure(each, file)))
                    except ClipError as error:
                        outcomes.append((error.reason, str(error)))
                        messages.append(str(error))
                assert outcomes[0] == outcomes[1]
    assert len(messages) == 2 * (2 + 2 + 1 + 2 + 2 + 2 + 1)


def test_a_stream_that_is_closed_late_does_not_affect_the_next_one(decoder):
    old = decoder.open(io.BytesIO(encoded(noise(60.0))))
    old_blocks = old.__enter__().blocks()
    next(old_blocks)
    with decoder.open(GOOD) as audio:
        with pytest.raises(RuntimeError, match="closed"):
            next(old_blocks)
        blocks = audio.blocks()
        next(blocks)
        old.__exit__(None, None, None)
        assert len(list(blocks)) == 1


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (CRASH, "the decoder crashed (SIGSEGV), after 4.10 s"),
        (KILLED, "the decoder crashed (SIGKILL), after 4.10 s"),
        (HANG, "the decoder hangs: nothing for 0.4 s, after 4.10 s"),
        (SLEEP, "the decoder hangs: nothing for 0.4 s, after 4.10 s"),
    ],
)
def test_a_crash_or_a_hang_rejects_the_clip_and_the_next_one_decodes(sabotaged, mark, message):
    for _ in range(2):  # in a process that has read nothing else, and in one that has
        with sabotaged.open(marked(mark)) as audio:
            blocks = audio.blocks()
            assert len(next(blocks)) == BLOCK
            with pytest.raises(ClipError) as caught:
                next(blocks)
        assert (caught.value.reason, str(caught.value)) == (Reason.CRASHED, message)
        np.testing.assert_array_equal(np.concatenate(read(sabotaged, GOOD)), np.zeros(2 * BLOCK))


def test_a_hang_gets_no_second_try(sabotaged):
    read(sabotaged, GOOD)
    pid = pid_of(sabotaged)
    assert error_of(sabotaged, marked(SLEEP))[0] is Reason.CRASHED
    assert pid_of(sabotaged) == pid, "no other process has started"


def without_length(samples) -> io.BytesIO:
    """Return a FLAC as programs write it to a pipe, with no number of samples in STREAMINFO."""
    flac = bytearray(encoded(samples, "FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    return io.BytesIO(flac)


def test_each_block_has_its_own_time_limit(sabotaged):
    samples = np.zeros(3 * BLOCK + 1, np.int16)
    samples[::BLOCK] = LONG
    file = without_length(samples)
    assert sabotaged.duration_s(file) == len(samples) / RATE_HZ
    assert sum(map(len, read(sabotaged, file))) == len(samples)
    assert examples_in(sabotaged, file, Extraction())[-1] == len(samples)


def test_a_crash_while_measuring_the_length_rejects_the_clip(sabotaged):
    with pytest.raises(ClipError, match=r"crashed \(SIGSEGV\), at the file's header"):
        sabotaged.duration_s(without_length(np.full(BLOCK, CRASH, np.int16)))
    assert sabotaged.duration_s(GOOD) == 2 * BLOCK / RATE_HZ


def test_a_crash_that_an_earlier_file_caused_is_retried(sabotaged):
    read(sabotaged, io.BytesIO(encoded(np.full(10, POISON, np.int16))))
    pid = pid_of(sabotaged)
    file = io.BytesIO(encoded(noise(15.0)))
    np.testing.assert_array_equal(
        np.concatenate(read(sabotaged, file)), np.concatenate(read(InProcessDecoder(), file))
    )
    assert pid_of(sabotaged) != pid


def test_a_crash_in_an_unused_block_decoded_ahead_is_ignored(sabotaged):
    with sabotaged.open(marked(CRASH)) as audio:
        next(audio.blocks())
    assert len(read(sabotaged, GOOD)) == 2


def test_a_decoder_can_be_pickled_before_its_first_file():
    found = []

    def work(data: bytes) -> None:
        with contextlib.closing(pickle.loads(data)) as decoder:
            for _ in range(5):
                found.append(len(read(decoder, io.BytesIO(GOOD.getvalue()))))

    threads = [threading.Thread(target=work, args=[pickle.dumps(IsolatedDecoder())]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 15


@pytest.mark.parametrize("kind", [io.BytesIO, Remote])
@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize(
    ("container", "rate_hz", "channels", "resampler"),
    [
        ("WAV", 16_000, 1, RESAMPY),
        ("WAV", 44_100, 2, RESAMPY),
        ("FLAC", 48_000, 3, RESAMPY),
        ("MP3", 22_050, 1, RESAMPY),
        ("WAV", 44_100, 1, SOXR),
        pytest.param("WAV", 12_345, 1, RESAMPY, marks=pytest.mark.integration),  # needs a compiler
    ],
)
def test_examples_are_bit_identical_to_those_of_this_process(
    decoder, container, rate_hz, channels, resampler, windows, kind
):
    data = encoded(noise(11.0, rate_hz, channels), container, rate_hz)
    for hop_s, span in ((0.96, ()), (0.1, (3 * rate_hz, 8 * rate_hz)), (1.7, (rate_hz, None))):
        extraction = Extraction(Framing(hop_s=hop_s), resampler, windows)
        expected = examples_in(InProcessDecoder(), io.BytesIO(data), extraction, *span)
        found = examples_in(decoder, kind(data), extraction, *span)
        for own, other in zip(found, expected, strict=True):
            assert (own.shape, own.dtype, own.tobytes()) == (other.shape, other.dtype, other.tobytes())


@pytest.mark.parametrize("mark", [CRASH, HANG])
def test_a_crash_during_extraction_has_its_time_and_the_next_clip_is_extracted(sabotaged, mark):
    for _ in range(2):
        with pytest.raises(ClipError, match=r"(SIGSEGV|hangs).*, after 4\.10 s") as caught:
            examples_in(sabotaged, sounding(mark), Extraction())
        assert caught.value.reason is Reason.CRASHED
        assert len(examples_in(sabotaged, sounding(0), Extraction())[0]) == 15


def test_extraction_continues_after_a_crash_that_an_earlier_file_caused(sabotaged):
    read(sabotaged, io.BytesIO(encoded(np.full(10, POISON, np.int16))))
    pid = pid_of(sabotaged)
    file, extraction = sounding(0, 200.0), Extraction(Framing(hop_s=0.1), windows=True)
    found = np.concatenate(examples_in(sabotaged, file, extraction, 1_000, None)[:-1])
    expected = np.concatenate(examples_in(InProcessDecoder(), file, extraction, 1_000, None)[:-1])
    np.testing.assert_array_equal(found, expected)
    assert pid_of(sabotaged) != pid
