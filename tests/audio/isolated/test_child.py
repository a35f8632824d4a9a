import contextlib
import errno
import gc
import io
import os
import sys

import pytest
from isolating import (
    BLOCK,
    CRASH,
    GOOD,
    RATE_HZ,
    Remote,
    encoded,
    error_of,
    marked,
    pid_of,
    read,
)
from sounds import noise

from transforms.audio.isolated.isolation import IsolatedDecoder


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


def test_a_process_that_cannot_start_raises_runtime_error(tmp_path, monkeypatch, capfd):
    (tmp_path / "soundfile.py").write_text("raise ImportError('no libsndfile')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="did not start"):
        IsolatedDecoder().duration_s(GOOD)
    assert "no libsndfile" in capfd.readouterr().err


def test_modules_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise ImportError('a file of the user')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    with contextlib.closing(IsolatedDecoder()) as decoder:
        assert len(read(decoder, GOOD)) == 2


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
