"""An HTTP proxy in front of a server that can simulate failures of servers and networks."""

import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import HOST

# Kinds of faults: status 503 before the server receives a request, or after it has processed it; a connection
# that is closed in the middle of the request, or of the answer.
BUSY, BUSY_LATE, CUT_REQUEST, CUT_ANSWER = "busy", "busy late", "cut request", "cut answer"

# Headers of one hop, which are not forwarded; the answer is forwarded as a whole.
_OWN_HEADERS = {"connection", "content-length", "date", "expect", "transfer-encoding"}


class Faults:
    """Decides at random which requests fail.

    Attributes:
      kinds: kinds of faults that may occur; initially none.
      share: share of the requests that fail.
      is_away: whether the server cannot be reached.
      counts: number of faults by kind; "requests" is the number of requests.
    """

    def __init__(self) -> None:
        self.kinds: tuple[str, ...] = ()
        self.share = 0.2
        self.is_away = False
        self.counts: Counter[str] = Counter()
        self._random = random.Random(7)
        self._lock = threading.Lock()

    def draw(self) -> str | None:
        """Returns the fault of the next request; None if it does not fail."""
        with self._lock:
            self.counts["requests"] += 1
            if not self.kinds or self._random.random() >= self.share:
                return None
            kind = self._random.choice(self.kinds)
            self.counts[kind] += 1
            return kind


@contextmanager
def proxy(port: int, faults: Faults, handler: "type[Handler] | None" = None) -> Iterator[str]:
    """Forwards requests to a port, and yields the URL of the proxy.

    Args:
      port: port of the server.
      faults: faults of the requests.
      handler: class that forwards a request.
    """
    values = {"upstream": port, "faults": faults}
    with ThreadingHTTPServer((HOST, 0), type("Handler", (handler or Handler,), values)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()


class Handler(BaseHTTPRequestHandler):
    """Forwards a complete request, and its complete answer."""

    protocol_version = "HTTP/1.1"
    upstream: int
    faults: Faults

    def changed(self, body: bytes) -> bytes:
        """Returns the body to forward."""
        return body

    def answer_here(self) -> bool:
        """Answers a request that is not forwarded; returns whether it did."""
        return False

    def _pass_on(self) -> None:
        if self.answer_here():
            return
        fault = self.faults.draw()
        size = int(self.headers.get("Content-Length", 0))
        if fault == CUT_REQUEST or self.faults.is_away:
            self.rfile.read(size // 2)
            self._hang_up()
            return
        body = (
            self._read_chunks()
            if self.headers.get("Transfer-Encoding") == "chunked"
            else self.rfile.read(size)
        )
        if fault == BUSY:
            self.answer(503, [], b"")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
        connection = http.client.HTTPConnection(HOST, self.upstream)
        try:
            connection.request(self.command, self.path, self.changed(body), headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):  # the server does not run
            self._hang_up()
            return
        finally:
            connection.close()
        if fault == BUSY_LATE:
            self.answer(503, [], b"")
        elif fault == CUT_ANSWER:
            self.answer(response.status, response.getheaders(), answer, len(answer) // 2)
            self._hang_up()
        else:
            self.answer(response.status, response.getheaders(), answer)

    def answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None
    ) -> None:
        """Answers with a body; `sent` limits the bytes that are sent."""
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), len(body))
        self.send_header("Content-Length", str(length if self.command == "HEAD" else len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Prints nothing."""
