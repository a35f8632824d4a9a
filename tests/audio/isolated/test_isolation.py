import contextlib
import errno
import gc
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from sounds import noise, write_bad_files

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.dsp.resample import RESAMPY, SOXR
from transforms.audio.extraction import MAX_BYTES, Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing

RATE_HZ = 16_000
# Frames per block of libsndfile.
BLOCK = 1 << 16
CRASH, HANG, SLEEP, BUG, MEMORY, KILLED, POISON, ODD, OS_ERROR = range(101, 110)

# The decoder process imports this before anything else. A block whose first sample is one of the marks makes
# libsndfile fail in the given way.
SABOTAGE = f"""
import ctypes, os, soundfile

read = soundfile.SoundFile.read
poisoned_by, poisoned = None, []

def sabotaged(self, *args, **options):
    global poisoned_by
    block = read(self, *args, **options)
    mark = block[0, 0] if len(block) else 0
    if mark == {POISON}:
        poisoned_by = self
    elif poisoned_by not in (None, self):
        poisoned.append(self)
    if mark == {CRASH} or len(poisoned) == 2:
        ctypes.string_at(0)
    elif mark == {HANG}:
        while True:
            pass
    elif mark == {SLEEP}:
        ctypes.PyDLL(None).sleep(60)  # in C, holding the interpreter lock
    elif mark == {BUG}:
        raise ImportError("what is wrong")
    elif mark == {ODD}:
        raise type("OddError", (Exception,), {{}})("what is\\nwrong")
    elif mark == {OS_ERROR}:
        raise FileNotFoundError(2, "no such thing")
    elif mark == {MEMORY}:
        bytearray(20 << 30)
    elif mark == {KILLED}:
        os.kill(os.getpid(), 9)
    return block

soundfile.SoundFile.read = sabotaged
"""


class Remote(io.RawIOBase):
    """A file without a descriptor, such as that of an object store; reads beyond `fails_at` fail."""

    def __init__(self, data: bytes, fails_at: int | None = None):
        self._file = io.BytesIO(data)
        self._fails_at = fails_at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer) -> int:
        if self._fails_at is not None and self._file.tell() + len(buffer) > self._fails_at:
            raise LookupError("the bucket is gone")
        return self._file.readinto(buffer)


@pytest.fixture(scope="module")
def decoder():
    with contextlib.closing(IsolatedDecoder()) as decoder:
        yield decoder


@pytest.fixture
def sabotaged(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.syspath_prepend(tmp_path)
    with contextlib.closing(IsolatedDecoder(limit_s=0.4)) as decoder:
        yield decoder


def encoded(samples, container: str = "WAV", rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container)
    return file.getvalue()


def m4a(samples) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=44_100, layout="stereo")
        planes = np.ascontiguousarray(samples.T, np.float32)
        frame = av.AudioFrame.from_ndarray(planes, "fltp", "stereo")
        frame.sample_rate = 44_100
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def marked(mark: int) -> io.BytesIO:
    """Return a WAV whose second block has the mark."""
    samples = np.zeros(2 * BLOCK, np.int16)
    samples[BLOCK] = mark
    return io.BytesIO(encoded(samples))


GOOD = marked(0)


def read(decoder, file) -> list[np.ndarray]:
    with decoder.open(file) as audio:
        return list(audio.blocks())


def error_of(decoder, file) -> tuple[Reason, str]:
    with pytest.raises(ClipError) as caught:
        read(decoder, file)
    return caught.value.reason, str(caught.value)


def pid_of(decoder: IsolatedDecoder) -> int:
    assert decoder._child is not None
    return decoder._child._process.pid


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


def test_a_default_timeout_of_sockets_makes_no_difference(tmp_path):
    """Google's libraries set a default timeout in the parent."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0), RATE_HZ)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.2)
    decoder = IsolatedDecoder()
    try:
        with path.open("rb") as file:
            assert decoder.duration_s(file) == 1.0
            time.sleep(0.5)  # longer than the timeout, and the child waits
            assert decoder.duration_s(file) == 1.0
    finally:
        socket.setdefaulttimeout(before)
        decoder.close()


def test_the_caller_can_read_the_file_at_the_same_time(decoder, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(encoded(noise(5.0)))
    with open(path, "rb") as file:
        read(decoder, file)
        file.seek(0)
        with decoder.open(file) as audio:
            blocks = audio.blocks()
            next(blocks)
            file.seek(0)
            assert file.read() == path.read_bytes()
            assert sum(map(len, blocks)) == 5 * RATE_HZ - BLOCK


@pytest.mark.parametrize("num_blocks", [0, 1, 3])
@pytest.mark.parametrize("kind", [io.BytesIO, Remote])
def test_a_stream_can_be_closed_at_any_position(decoder, kind, num_blocks):
    file = kind(encoded(noise(60.0)))
    read(decoder, GOOD)
    pid = pid_of(decoder)
    with decoder.open(file) as audio:
        blocks = audio.blocks()
        for _ in range(num_blocks):
            next(blocks)
    assert len(read(decoder, GOOD)) == 2
    with contextlib.suppress(ZeroDivisionError), decoder.open(file):
        raise ZeroDivisionError
    assert len(read(decoder, GOOD)) == 2
    assert pid_of(decoder) == pid


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


def test_a_crash_while_measuring_the_length_rejects_the_clip(sabotaged):
    flac = bytearray(encoded(np.full(BLOCK, CRASH, np.int16), "FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # STREAMINFO without a length
    with pytest.raises(ClipError, match=r"crashed \(SIGSEGV\), at the file's header"):
        sabotaged.duration_s(io.BytesIO(flac))
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


def test_exceeding_the_memory_limit_rejects_the_clip(sabotaged):
    assert error_of(sabotaged, marked(MEMORY)) == (
        Reason.CORRUPT,
        "the decoder asks for more than 1024 MiB of memory",
    )
    assert len(read(sabotaged, GOOD)) == 2


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (ODD, "the decoder raises OddError: what is wrong"),
        (OS_ERROR, "the decoder raises FileNotFoundError: [Errno 2] no such thing"),
    ],
)
def test_any_exception_of_a_decoder_rejects_only_the_clip(sabotaged, mark, message):
    assert error_of(sabotaged, marked(mark)) == (Reason.CORRUPT, message)
    pid = pid_of(sabotaged)
    assert len(read(sabotaged, GOOD)) == 2
    assert pid_of(sabotaged) == pid


def test_a_bug_raises_runtime_error_with_its_traceback(sabotaged):
    with pytest.raises(RuntimeError, match=r"(?s)decode\.py.*ImportError: what is wrong"):
        read(sabotaged, marked(BUG))
    assert len(read(sabotaged, GOOD)) == 2


def test_the_output_of_libraries_is_discarded(capfd):
    samples = noise(1.0, 44_100, 2)
    mp3 = encoded(np.concatenate([samples, np.zeros_like(samples)]), "MP3", 44_100)
    place = mp3.index(b"Xing") + 12  # the size of the stream; mpg123 warns if it is wrong
    wrong = mp3[:place] + (10 * len(mp3)).to_bytes(4, "big") + mp3[place + 4 :]
    read(InProcessDecoder(), io.BytesIO(wrong))
    assert "Xing stream size" in capfd.readouterr().err, "mpg123 has something to say"
    with contextlib.closing(IsolatedDecoder()) as decoder:
        assert sum(map(len, read(decoder, io.BytesIO(wrong)))) == 2 * 44_100
    assert capfd.readouterr() == ("", "")


def test_a_process_that_cannot_start_raises_runtime_error(tmp_path, monkeypatch, capfd):
    (tmp_path / "soundfile.py").write_text("raise ImportError('no libsndfile')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="did not start"):
        IsolatedDecoder().duration_s(GOOD)
    assert "no libsndfile" in capfd.readouterr().err


@pytest.mark.parametrize("fails_at", [0, 300_000])
def test_errors_of_the_file_are_raised_unchanged(decoder, fails_at):
    data = encoded(noise(60.0))
    with pytest.raises(LookupError, match="the bucket is gone"):
        read(decoder, Remote(data, fails_at))
    assert len(read(decoder, GOOD)) == 2
    with pytest.raises(ValueError, match="closed"):
        closed = io.BytesIO(data)
        closed.close()
        read(decoder, closed)
    assert len(read(decoder, GOOD)) == 2


def test_errors_of_a_disk_are_raised_unchanged(decoder, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(GOOD.getvalue())
    # A descriptor that cannot be read simulates a disk that cannot be read.
    with open(os.open(path, os.O_WRONLY), "rb") as file, pytest.raises(OSError) as caught:
        read(decoder, file)
    assert caught.value.errno == errno.EBADF
    assert len(read(decoder, GOOD)) == 2


def test_close_leaves_no_process_and_no_descriptor(sabotaged):
    before = len(os.listdir("/proc/self/fd"))
    read(sabotaged, GOOD)
    first = pid_of(sabotaged)
    sabotaged.close()
    error_of(sabotaged, marked(CRASH))
    read(sabotaged, GOOD)
    second = pid_of(sabotaged)
    sabotaged.close()
    sabotaged.close()  # any number of times
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_garbage_collected_decoder_stops_its_process():
    decoder = IsolatedDecoder()
    read(decoder, GOOD)
    pid = pid_of(decoder)
    del decoder
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("mark", [0, HANG])
def test_the_decoder_process_ends_when_its_parent_is_killed(tmp_path, mark):
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    (tmp_path / "x.wav").write_bytes(marked(mark).getvalue())
    program = f"""
import os, signal, sys
from transforms.audio.isolated.isolation import IsolatedDecoder
with IsolatedDecoder(limit_s=0.5).open(open({str(tmp_path / "x.wav")!r}, "rb")) as audio:
    next(audio.blocks())
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    # The child inherits the pipe for the output, so this returns when both processes have ended.
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=8,
    )
    assert done.returncode == -signal.SIGKILL


def test_ctrl_c_does_not_end_the_decoder_process(decoder):
    with decoder.open(io.BytesIO(encoded(noise(60.0)))) as audio:
        blocks = audio.blocks()
        next(blocks)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid_of(decoder), number)
        assert sum(map(len, blocks)) == 60 * RATE_HZ - BLOCK


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


def sounding(mark: int, duration_s: float = 15.0) -> io.BytesIO:
    """Return noise whose second block has the mark."""
    samples = np.random.default_rng(0).integers(-9_000, 9_000, round(duration_s * RATE_HZ)).astype(np.int16)
    samples[BLOCK] = mark
    return io.BytesIO(encoded(samples))


def examples_in(decoder, file, extraction: Extraction, *span: int | None) -> list[np.ndarray]:
    with decoder.open(file) as audio:
        arrays = list(audio.examples(extraction, *span))
        assert all(len(array) == extraction.max_examples(audio.rate_hz) for array in arrays[:-1])
        return [*arrays, np.array([audio.num_samples])]


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
    data = encoded(noise(31.0, rate_hz, channels), container, rate_hz)
    for hop_s, span in ((0.96, ()), (0.1, (3 * rate_hz, 8 * rate_hz)), (1.7, (rate_hz, None))):
        extraction = Extraction(Framing(hop_s=hop_s), resampler, windows)
        expected = examples_in(InProcessDecoder(), io.BytesIO(data), extraction, *span)
        found = examples_in(decoder, kind(data), extraction, *span)
        for own, other in zip(found, expected, strict=True):
            assert (own.shape, own.dtype, own.tobytes()) == (other.shape, other.dtype, other.tobytes())


@pytest.mark.parametrize("decode", [IsolatedDecoder, InProcessDecoder])
def test_spans_are_read_in_order_and_may_be_skipped(decode):
    decoder = decode()
    samples = np.random.default_rng(0).integers(-9_000, 9_000, 100_000).astype(np.int16)
    with decoder.open(io.BytesIO(encoded(samples))) as audio:
        assert (
            np.concatenate(list(audio.blocks(10, 70_000))).tolist() == (samples[10:70_000] / 2**15).tolist()
        )
        assert audio.num_samples == 69_990 and audio.has_sample_at(70_000)
        with pytest.raises(ClipError) as caught:
            list(audio.examples(Extraction(), 70_000, 70_500))
        assert caught.value.reason is Reason.TOO_SHORT
        assert audio.has_sample_at(99_999)
        assert np.concatenate(list(audio.blocks(99_999, 200_000))).tolist() == [samples[-1] / 2**15]
        assert audio.num_samples == 1 and not audio.has_sample_at(200_000)
        assert list(audio.blocks(300_000)) == [] and audio.num_samples == 0
    if isinstance(decoder, IsolatedDecoder):
        decoder.close()


def test_arrays_larger_than_the_shared_memory_arrive_complete(decoder):
    extraction = Extraction(Framing(window_s=200.0, hop_s=0.5))  # 5 MB each
    file = io.BytesIO(encoded(noise(201.1)))
    found, expected = (examples_in(each, file, extraction) for each in (decoder, InProcessDecoder()))
    assert len(found) == 3 + 1 and found[0].nbytes > MAX_BYTES
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, other)


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
