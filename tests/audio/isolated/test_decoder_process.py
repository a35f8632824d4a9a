import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from isolating import (
    ALARM,
    BLOCK,
    BUG,
    GOOD,
    HANG,
    MEMORY,
    ODD,
    OS_ERROR,
    RATE_HZ,
    SABOTAGE,
    encoded,
    error_of,
    marked,
    pid_of,
    read,
)
from sounds import noise

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.errors import Reason


def test_exceeding_the_memory_limit_rejects_the_clip(sabotaged):
    assert error_of(sabotaged, marked(MEMORY)) == (
        Reason.CORRUPT,
        "the decoder asks for more than 1024 MiB of memory",
    )
    assert len(read(sabotaged, GOOD)) == 2


@pytest.mark.parametrize(
    ("hard", "limits"),
    [
        (512 << 20, (512 << 20, 512 << 20)),
        (4 << 30, (1 << 30, 4 << 30)),
        (resource.RLIM_INFINITY, (1 << 30, resource.RLIM_INFINITY)),
    ],
)
def test_the_memory_limit_is_a_gib_or_the_hard_limit_if_that_is_less(tmp_path, monkeypatch, hard, limits):
    python = tmp_path / "python"
    kib = "unlimited" if hard == resource.RLIM_INFINITY else hard >> 10
    python.write_text(f'#!/bin/sh\nulimit -d {kib} && exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with contextlib.closing(IsolatedDecoder()) as decoder:
        assert len(read(decoder, GOOD)) == 2
        assert resource.prlimit(pid_of(decoder), resource.RLIMIT_DATA) == limits


def test_a_crash_leaves_no_core_file(decoder):
    read(decoder, GOOD)
    assert resource.prlimit(pid_of(decoder), resource.RLIMIT_CORE) == (0, 0)


@pytest.fixture(params=["blocked", "ignored"])
def no_alarm(request):
    """Let this process block or ignore the alarm signal, which its children inherit."""
    if request.param == "blocked":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        yield
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    else:
        before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
        yield
        signal.signal(signal.SIGALRM, before)


def test_the_time_limit_works_in_a_program_that_blocks_or_ignores_alarms(no_alarm, sabotaged):
    assert error_of(sabotaged, marked(ALARM)) == (
        Reason.CRASHED,
        "the decoder hangs: nothing for 0.4 s, after 4.10 s",
    )


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
    assert "Xing stream size" in capfd.readouterr().err, "mpg123 prints a warning"
    with contextlib.closing(IsolatedDecoder()) as decoder:
        assert sum(map(len, read(decoder, io.BytesIO(wrong)))) == 2 * 44_100
    assert capfd.readouterr() == ("", "")


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


def test_the_decoder_process_closes_its_files(decoder, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(GOOD.getvalue())

    def descriptors() -> int:
        with path.open("rb") as file:
            read(decoder, file)
            assert decoder.duration_s(file) == 2 * BLOCK / RATE_HZ
        return len(os.listdir(f"/proc/{pid_of(decoder)}/fd"))

    assert descriptors() == descriptors()


def test_signals_do_not_end_the_decoder_process(decoder):
    with decoder.open(io.BytesIO(encoded(noise(60.0)))) as audio:
        blocks = audio.blocks()
        next(blocks)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid_of(decoder), number)
        assert sum(map(len, blocks)) == 60 * RATE_HZ - BLOCK
