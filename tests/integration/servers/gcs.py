"""gs:// from fake-gcs-server, behind a proxy that adds what it lacks."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from servers import HOST, Server, cached, call, free_ports, program, running

_VERSION = "v1.56.1"
_BUCKET = "corpus"
_TOKEN_PATH = "/token"
# Of one hop; the answer is passed on as a whole.
_OWN_HEADERS = {"connection", "content-length", "date", "transfer-encoding"}


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Runs it with one bucket.

    Args:
      folder: for its log and credentials; its objects are in memory.
    """
    binary = cached(f"fake-gcs-server-{_VERSION}", _install) / "fake-gcs-server"
    (port,) = free_ports(1)
    with _proxy(port) as url:
        client = storage.Client(
            project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": url}
        )
        bucket = client.bucket(_BUCKET)

        def put(name: str, data: bytes) -> None:
            bucket.blob(name).upload_from_string(data)

        def get(name: str) -> dict[str, bytes]:
            blobs = client.list_blobs(_BUCKET, prefix=f"{name}/")
            return {blob.name.removeprefix(f"{name}/"): blob.download_as_bytes() for blob in blobs}

        command = [str(binary), "-scheme=http", f"-host={HOST}", f"-port={port}", "-backend=memory"]
        command += [f"-external-url={url}", f"-public-host={url.removeprefix('http://')}"]
        with running(command, folder / "gcs.log", lambda: list(client.list_buckets(retry=None))):
            client.create_bucket(_BUCKET)
            environment = {
                "STORAGE_EMULATOR_HOST": url,
                "GOOGLE_CLOUD_PROJECT": "test",
                "GOOGLE_APPLICATION_CREDENTIALS": str(_write_credentials(folder, url)),
            }
            yield Server(f"gs://{_BUCKET}", "gs://no-such-bucket/audio", [], environment, put, get)


def _install(folder: Path) -> None:
    go = program("go", "install Go, 1.21 or later")
    call([go, "install", f"github.com/fsouza/fake-gcs-server@{_VERSION}"], GOBIN=str(folder))


def _write_credentials(folder: Path, url: str) -> Path:
    """Credentials that the proxy honours: without any, Beam looks for half a minute before it goes on."""
    (folder / "subject").write_text("test")
    path = folder / "credentials.json"
    credentials = {
        "type": "external_account",
        "audience": "test",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": url + _TOKEN_PATH,
        "credential_source": {"file": str(folder / "subject")},
    }
    path.write_text(json.dumps(credentials))
    return path


@contextmanager
def _proxy(port: int) -> Iterator[str]:
    """Passes requests on to a port; gives its own URL."""

    class Handler(_Handler):
        upstream = port

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Passes a request on; grants tokens; gives the parts of a batch an id.

    The fake leaves out of a batch what has no Content-ID, which Google does not ask for and its Python
    client does not send: every `delete_batch` then fails with "Bad response: not multi-part".
    """

    protocol_version = "HTTP/1.1"
    upstream: int

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == _TOKEN_PATH:
            token = {"access_token": "test", "token_type": "Bearer", "expires_in": 3600}
            token["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
            self._answer(200, [("Content-Type", "application/json")], json.dumps(token).encode())
            return
        if self.path.startswith("/batch/"):
            kind = b"Content-Type: application/http\n"
            body = body.replace(kind, kind + b"Content-ID: <part>\n")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
        connection = http.client.HTTPConnection(HOST, self.upstream)
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            self._answer(response.status, response.getheaders(), response.read())
        except ConnectionRefusedError:  # not up yet
            self._answer(503, [], b"")
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET = do_POST = do_PUT = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""
