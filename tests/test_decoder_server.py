"""Decoders that the tests fork are processes as those of a command, with the same results and ends."""

import contextlib
import os
import signal
import time

import numpy as np
import pytest
from decoder_server import ForkedDecoder
from sounds import write_noise

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.errors import ClipError, Reason


@pytest.fixture
def file(tmp_path):
    write_noise(tmp_path / "a.flac", 6.0, 16_000)
    with open(tmp_path / "a.flac", "rb") as file:
        yield file


@pytest.fixture
def decoder():
    with contextlib.closing(IsolatedDecoder()) as decoder:
        yield decoder


def samples(decoder, file) -> np.ndarray:
    with decoder.open(file) as audio:
        return np.concatenate(list(audio.blocks()))


def test_a_forked_decoder_returns_the_samples(decoder, file):
    expected = samples(InProcessDecoder(), file)
    np.testing.assert_array_equal(samples(decoder, file), expected)
    process = decoder._child._process
    assert isinstance(process, ForkedDecoder) and process.pid not in (os.getpid(), os.getppid())


def test_a_killed_decoder_has_the_status_of_its_signal_and_is_replaced(decoder, file):
    samples(decoder, file)
    first = decoder._child
    os.kill(first._process.pid, signal.SIGKILL)
    assert len(samples(decoder, file)) == 6 * 16_000 and decoder._child is not first
    assert first._process.wait() == -signal.SIGKILL
    decoder.close()  # the first file of a process is to blame for its end
    with pytest.raises(ClipError, match="SIGKILL") as caught, decoder.open(file) as audio:
        os.kill(decoder._child._process.pid, signal.SIGKILL)
        list(audio.blocks())
    assert caught.value.reason is Reason.CRASHED


def test_a_stopped_decoder_leaves_no_process(decoder, file):
    samples(decoder, file)
    pid = decoder._child._process.pid
    decoder.close()
    deadline = time.monotonic() + 20
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
