"""gs:// with fake-gcs-server, behind a proxy that adds the features that it lacks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import install
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from servers import HOST, Server, free_ports, proxy, running

_BUCKET = "corpus"
_TOKEN_PATH = "/token"


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Runs the server with one bucket.

    Args:
      folder: folder for its log, credentials and objects; it is not deleted.
    """
    (port,) = free_ports(1)
    faults = proxy.Faults()
    with proxy.proxy(port, proxy.Faults(), _Handler) as own_url, proxy.proxy(port, faults, _Handler) as url:
        client = storage.Client(
            project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": own_url}
        )
        bucket = client.bucket(_BUCKET)

        def put(name: str, data: bytes) -> None:
            bucket.blob(name).upload_from_string(data)

        def names(folder: str) -> list[str]:
            blobs = client.list_blobs(_BUCKET, prefix=f"{folder}/")
            return [blob.name.removeprefix(f"{folder}/") for blob in blobs]

        def read(name: str) -> bytes:
            return bucket.blob(name).download_as_bytes()

        command = [str(install.fake_gcs_server()), "-scheme=http", f"-host={HOST}", f"-port={port}"]
        command += ["-backend=filesystem", f"-filesystem-root={folder / 'objects'}"]
        command += [f"-external-url={url}", f"-public-host={url.removeprefix('http://')}"]
        answers = lambda: list(client.list_buckets(retry=None))  # noqa: E731
        with running(command, folder / "gcs.log", answers) as restart:
            client.create_bucket(_BUCKET)
            environment = {
                "STORAGE_EMULATOR_HOST": url,
                "GOOGLE_CLOUD_PROJECT": "test",
                "GOOGLE_APPLICATION_CREDENTIALS": str(_write_credentials(folder, url)),
            }
            root, nowhere = f"gs://{_BUCKET}", "gs://no-such-bucket/audio"
            yield Server(root, nowhere, [], environment, put, names, read, faults, restart)


def _write_credentials(folder: Path, url: str) -> Path:
    """Writes credentials that the proxy accepts, to test Beam with credentials; returns their path."""
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


class _Handler(proxy.Handler):
    """Grants tokens, and adds an id to the parts of a batch.

    fake-gcs-server ignores parts without a Content-ID, which Google does not require and its Python client
    does not send. Without an id, every `delete_batch` fails with "Bad response: not multi-part".
    """

    def changed(self, body: bytes) -> bytes:
        if not self.path.startswith("/batch/"):
            return body
        kind = b"Content-Type: application/http\n"
        return body.replace(kind, kind + b"Content-ID: <part>\n")

    def answer_here(self) -> bool:
        if self.path != _TOKEN_PATH:
            return False
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = {"access_token": "test", "token_type": "Bearer", "expires_in": 3600}
        token["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
        self.answer(200, [("Content-Type", "application/json")], json.dumps(token).encode())
        return True
