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
    """A running server and a client; tests write and read files with the client, not with Beam.

    Attributes:
      root: a bucket or folder that exists, such as `s3://corpus`.
      nowhere: a path in a bucket or folder that does not exist.
      flags: Beam's options for access to the server.
      environment: variables for access to the server.
      put: writes a file; takes its path below the root and its bytes.
      names: returns the paths of all files below a folder; takes the folder's path below the root.
      read: returns the bytes of a file; takes its path below the root.
      faults: faults of requests, except those of the tests' client; None if the server has no faults.
      restart: stops the server for a number of seconds; it keeps its objects.
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
        """Returns path below a folder -> bytes of all files in it; no file may be written meanwhile."""
        return {name: self.read(f"{folder}/{name}") for name in self.names(folder)}


def free_ports(number: int) -> list[int]:
    """Returns different ports that are not in use."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@contextmanager
def running(
    command: Sequence[str], log: Path, answers: Callable[[], object]
) -> Iterator[Callable[[float], None]]:
    """Starts a server, waits until it is ready, and stops it at the end of the context.

    Args:
      command: command that starts the server.
      log: file for its output.
      answers: function that raises an exception until the server is ready.

    Yields:
      A function that kills the server, and starts it again after a number of seconds.
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
    """Waits until `answers` no longer raises; raises RuntimeError with the output if the process ends."""
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
