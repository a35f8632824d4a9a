"""Output that cannot be printed: a pipe whose reader has ended, a full device, closed files."""

import errno
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from commands import ROOT, shared_launcher
from interrupting import wait_for
from sounds import write_noise

from pipeline.process import ending
from pipeline.process.streams import _Patient

PRINTS = """
import sys
from pipeline.process.main import run_main

def work():
    for number in range({count}):
        print(number, "x" * 1000)
    open(sys.argv[1], "w").write("done")
    return {status}

sys.exit(run_main("it", work))
"""
ENDS = "it: error: the output cannot be printed ({}); the rest of the work is done"


@pytest.fixture
def work(tmp_path):
    """Runs a program that prints and then works; returns its exit status and its error output."""

    def run(output: Path, count: int = 1000, status: int = 0, pid=lambda _: None):
        program, errors = tmp_path / "program.py", tmp_path / "errors"
        program.write_text(PRINTS.format(count=count, status=status))
        launcher = shared_launcher()
        pid(launcher.start(str(program), str(tmp_path / "work"), output=[output, errors]))
        ended = launcher.wait()
        assert (tmp_path / "work").read_text() == "done"
        return ended, errors.read_text().splitlines()

    return run


def closing_pipe(folder: Path):
    """Creates a pipe; returns its path, and a function that closes it once a process has opened it."""
    path = folder / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def close(pid: int) -> None:
        def taken() -> bool:
            with suppress(OSError):
                return os.readlink(f"/proc/{pid}/fd/1") == str(path)
            return False

        wait_for(taken)
        os.close(reader)

    return path, close


@pytest.mark.parametrize("count", [1, 1000])  # the error occurs at the end, or in the middle
def test_a_pipe_whose_reader_has_ended_is_one_line_and_141(work, tmp_path, count):
    path, close = closing_pipe(tmp_path)
    assert work(path, count, pid=close) == (141, [ENDS.format("Broken pipe")])


@pytest.mark.parametrize("count", [1, 1000])
def test_a_full_device_is_one_line_and_1(work, count):
    assert work(Path("/dev/full"), count) == (1, [ENDS.format("No space left on device")])


def test_the_status_of_a_failed_command_stays(work):
    assert work(Path("/dev/full"), status=4) == (4, [ENDS.format("No space left on device")])


def test_as_much_as_possible_is_printed(work, tmp_path):
    assert work(tmp_path / "out") == (0, [])
    assert (tmp_path / "out").read_text() == "".join(f"{n} {'x' * 1000}\n" for n in range(1000))


@pytest.mark.integration  # it takes two runs
def test_the_features_of_a_run_that_cannot_print_are_complete(tmp_path):
    for number in range(3):
        write_noise(tmp_path / "audio" / f"{number}.wav", 2.0, seed=number)
    launcher, statuses = shared_launcher(), []
    for name in ("out", "/dev/full"):
        output = tmp_path / Path(name).name
        flags = ["--weights=random:0", "--pca_params=none", "--runner=FnApiRunner", f"--output={output}"]
        streams = [Path(tmp_path, name).with_suffix(".txt") if name == "out" else Path(name)] * 2
        launcher.start("-m", "pipeline.run", *flags, f"--input={tmp_path}/audio/*", output=streams)
        statuses.append(launcher.wait())
    assert statuses == [0, 1]
    written = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).glob("*/*.tfrecord")
        }
        for name in ("out", "full")
    ]
    assert written[0] == written[1] and len(written[0]) == 3
    assert {path.name for path in (tmp_path / "full" / "_run").iterdir()} == {
        path.name for path in (tmp_path / "out" / "_run").iterdir()
    }


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """Otherwise libraries could print into a shard."""
    pid = os.fork()
    if not pid:
        for number in range(3):
            os.close(number)
        sys.stderr = None
        ending._open_standard_files()
        opened = os.open(tmp_path / "shard", os.O_WRONLY | os.O_CREAT)
        os.write(2, b"x")
        os._exit(opened > 2 and sys.stderr is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert (tmp_path / "shard").read_bytes() == b""


@pytest.mark.integration  # it needs a new Python process
def test_a_command_without_streams_does_its_work(tmp_path):
    write_noise(tmp_path / "audio" / "a.wav", 2.0)
    flags = f"--weights=random:0 --pca_params=none --output={tmp_path}/out --input={tmp_path}/audio/*"
    command = f"exec {sys.executable} -m pipeline.run {flags} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0
    assert len(list((tmp_path / "out").glob("*/*.tfrecord"))) == 1


def test_all_data_is_written_to_a_file_that_accepts_little_at_a_time():
    """A terminal is such a file if another program has set it to non-blocking mode."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = bytes(range(256)) * 4096
    found = bytearray()

    def read() -> None:
        while part := os.read(reading, 1000):
            found.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    with open(writing, "wb", buffering=0) as file:
        patient = _Patient(file)
        assert patient.write(data) == len(data) and patient.error is None
    thread.join()
    os.close(reading)
    assert found == data


def test_a_hang_up_of_the_terminal_is_recorded_without_an_error():
    ours, theirs = pty.openpty()
    with open(theirs, "wb", buffering=0) as file:
        patient = _Patient(file)
        assert patient.isatty() and patient.fileno() == theirs
        os.close(ours)
        assert patient.write(b"x") == 1
        assert patient.error is not None and patient.error.errno == errno.EIO
