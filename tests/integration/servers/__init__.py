"""Servers of gs://, s3:// and hdfs:// for tests: started on free ports of this machine, and stopped."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fasteners

if TYPE_CHECKING:
    from servers.proxy import Faults

from transforms.clips import sha256_of
from transforms.files import sha256_of_file

HOST = "127.0.0.1"
START_S = 120

_MAVEN_DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


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


def program(name: str, remedy: str) -> str:
    """Path of a program that a server needs; RuntimeError with the remedy if there is none."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"no program {name!r} on PATH, which this test needs: {remedy}")
    return path


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """A folder in the user's cache; the first time it is made, and appears whole or not at all.

    One process makes one folder at a time: Maven's repository is not made for more.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audioset-beam-tests"
    folder = cache / name
    with fasteners.InterProcessLock(cache / "lock"):
        if not folder.is_dir():
            temporary = cache / f"{name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
            temporary.mkdir()
            make(temporary)
            temporary.rename(folder)
    return folder


def maven_jars(pom: Path, sha256: str) -> Path:
    """A folder with the jars that a pom.xml asks for and all that they need, checked when they are fetched.

    Args:
      pom: its file name says what it is.
      sha256: in hex, of lines with the SHA-256 and the name of each jar, in the order of names, as
        `sha256sum *.jar` prints them.

    Raises:
      RuntimeError: there is no Maven, it does not find them all, or one is another.
    """

    def fetch(folder: Path) -> None:
        mvn = program("mvn", "install Apache Maven, 3.6 or later")
        target = [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        call([mvn, "-q", "-B", "-f", str(pom), f"{_MAVEN_DEPENDENCY}:copy-dependencies", *target])
        jars = sorted(folder.glob("*.jar"))
        found = sha256_of("".join(f"{sha256_of_file(str(jar))}  {jar.name}\n" for jar in jars).encode())
        if found != sha256:
            raise RuntimeError(f"{pom.name}: {len(jars)} jars have the SHA-256 {found}, and not {sha256}")

    return cached(f"{pom.stem}-{sha256[:12]}", fetch)


def call(command: Sequence[str], **environment: str) -> None:
    """Runs a command to its end; RuntimeError with what it said if it fails."""
    result = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {result.returncode}\n{result.stdout[-4000:]}")


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
