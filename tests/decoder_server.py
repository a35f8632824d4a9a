"""Starts decoder processes in 10 ms, for the many runs of the tests: one server forks them all.

A new interpreter takes 0.2 s of CPU time to import NumPy and the libraries of audio, and each run starts one
per core. The forked processes run the same program. `tests/audio/isolated` starts them as a command does.

    process of the test                            server
    ForkedDecoder <==== its status and death ====> keeper (one per decoder), the parent of
                                                   decoder process
"""

import contextlib
import functools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any

_LIMIT = struct.Struct("d")
_NUMBER = struct.Struct("i")
_KILL, _WAIT = b"k", b"w"


def fork_decoders(patch: Any) -> None:
    """Make this process, and those forked from it, start decoders in this way until the monkeypatch ends."""
    from transforms.audio.isolated import child

    patch.setattr(child, "subprocess", types.SimpleNamespace(Popen=ForkedDecoder, DEVNULL=None))


class ForkedDecoder:
    """Has the parts of `subprocess.Popen` that `transforms.audio.isolated.child` uses."""

    def __init__(self, command: Sequence[str], pass_fds: Sequence[int], env: Mapping[str, str], **_: Any):
        *_, limit_s = command
        self._keeper, theirs = socket.socketpair()
        self._keeper.setblocking(True)
        self._status: int | None = None
        with theirs:
            _server().start(float(limit_s), [*pass_fds, theirs.fileno()], env)
        self.pid = self._number()

    def kill(self) -> None:
        if self._status is None:
            self._keeper.sendall(_KILL)

    def wait(self) -> int:
        if self._status is None:
            self._keeper.sendall(_WAIT)
            self._status = self._number()
            self._keeper.close()
        return self._status

    def _number(self) -> int:
        (number,) = _NUMBER.unpack(self._keeper.recv(_NUMBER.size, socket.MSG_WAITALL))
        return number


class _Server:
    """Starts with the first decoder, in whose environment all others run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None

    def start(self, limit_s: float, descriptors: Sequence[int], environment: Mapping[str, str]) -> None:
        with self._lock:
            if self._requests is None:
                self._requests, theirs = socket.socketpair()
                self._requests.setblocking(True)
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, __file__, str(theirs.fileno())],
                        stdin=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        env=environment,
                        start_new_session=True,  # the terminal's Ctrl-C is not for it
                    )
            socket.send_fds(self._requests, [_LIMIT.pack(limit_s)], descriptors)


@functools.cache
def _server() -> _Server:
    """Returns the server of this process; it ends with this process."""
    return _Server()


def _serve(requests: socket.socket) -> None:
    """Forks a keeper per request; returns in a decoder process, with its arguments in `sys.argv`."""
    import gc

    from transforms.audio.isolated import decoder_process  # noqa: F401

    gc.freeze()  # otherwise the garbage collector of each decoder would copy all memory pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for keepers
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _LIMIT.size, 3, socket.MSG_WAITALL)
        if not request:
            sys.exit()
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        requests.close()
        connection, shared, keeper = descriptors
        _keep(socket.socket(fileno=keeper), [connection, shared])
        sys.argv = ["decoder_process", str(connection), str(shared), str(*_LIMIT.unpack(request))]
        return


def _keep(owner: socket.socket, descriptors: Sequence[int]) -> None:
    """Forks the decoder process, and returns in it; this process ends after it or with its owner.

    Only this process, the parent, can kill it without the risk that another process has got its id.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        owner.close()
        return
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(ConnectionError):
        owner.sendall(_NUMBER.pack(pid))
        while command := owner.recv(1):
            if command == _KILL:
                os.kill(pid, signal.SIGKILL)
            else:
                _, status = os.waitpid(pid, 0)
                owner.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
                break
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from transforms.audio.isolated.decoder_process import main

    main()
