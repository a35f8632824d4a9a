"""Files, and failures of decoders, for the tests of decoding in a separate process."""

import io

import av
import numpy as np
import pytest
import soundfile

from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.errors import ClipError, Reason

RATE_HZ = 16_000
# Frames per block of libsndfile.
BLOCK = 1 << 16
CRASH, HANG, SLEEP, BUG, MEMORY, KILLED, POISON, ODD, OS_ERROR, ALARM, LONG = range(101, 112)
# The decoder process imports this before anything else. A block whose first sample is one of the marks makes
# libsndfile fail in the given way.
SABOTAGE = f"""
import ctypes, os, signal, soundfile

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
    elif mark == {ALARM}:
        signal.raise_signal(signal.SIGALRM)
    elif mark == {LONG}:  # as if the time limit had run since an hour: each block must begin a new one
        left_s, _ = signal.setitimer(signal.ITIMER_REAL, 3_600)
        if not 0 < left_s < 60:
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
