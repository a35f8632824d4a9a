"""Servers of gs://, s3:// and hdfs:// for tests: started on free ports of this machine, and stopped."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servers.proxy import Faults

HOST = "127.0.0.1"
START_S = 120


@dataclass(frozen=True)
class Server:
    """A server that runs, with a client of its own: what tests put and get does not go through Beam.

    Attributes:
      root: a bucket or folder that exists, as `s3://corpus`.
      nowhere: a path in a bucket or folder that does not exist.
      flags: Beam's options to reach it.
      environment: variables to reach it by.
      put: writes a file; takes its path below the root and its bytes.
      names: of all files below a folder; takes its path below the root, gives their paths below it.
      read: a file's bytes; takes its path below the root.
      faults: of requests other than the tests' own; None of a server without.
      restart: takes the server away for so many seconds; it comes back with its objects.
    """

    root: str
    nowhere: str
    flags: Sequence[str]
    environment: Mapping[str, str]
    put: Callable[[str, bytes], None]
    names: Callable[[str], Iterable[str]]
    read: Callable[[str], bytes]
    faults: "Faults | None" = None
    restart: Callable[[float], None] | None = None

    def get(self, folder: str) -> dict[str, bytes]:
        """All files below a folder, none of which is just being written: their paths below it, and bytes."""
        return {name: self.read(f"{folder}/{name}") for name in self.names(folder)}


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@contextmanager
def running(
    command: Sequence[str], log: Path, answers: Callable[[], object]
) -> Iterator[Callable[[float], None]]:
    """Runs a server from when it answers to the end of the block.

    Args:
      command: that starts it.
      log: file for what it says.
      answers: a call that raises as long as the server is not ready.

    Yields:
      What kills it, and starts it again after so many seconds.
    """
    processes = []

    def start() -> None:
        with log.open("ab") as file:
            processes.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
        wait_until_ready(processes[-1], log, answers)

    def restart(pause_s: float) -> None:
        processes[-1].kill()
        processes[-1].wait()
        time.sleep(pause_s)
        start()

    try:
        start()
        yield restart
    finally:
        processes[-1].terminate()
        try:
            processes[-1].wait(30)
        except subprocess.TimeoutExpired:
            processes[-1].kill()
            processes[-1].wait()


def wait_until_ready(process: subprocess.Popen, log: Path, answers: Callable[[], object]) -> None:
    """Waits until a call no longer raises; RuntimeError with what the process said if it ends."""
    end = time.monotonic() + START_S
    while True:
        try:
            answers()
            return
        except Exception as error:
            if process.poll() is not None or time.monotonic() > end:
                said = log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"{' '.join(process.args)}: does not answer ({error})\n{said}") from error
            time.sleep(0.2)
