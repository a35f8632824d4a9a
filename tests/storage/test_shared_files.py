"""Files that workers share, from a real HTTP server on this machine that counts what it is asked for."""

import hashlib
import http.server
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from forking import CONTEXT

from transforms.errors import SettingError
from transforms.homes import ASSETS_DIR_VARIABLE
from transforms.storage.shared_files import SharedFile, cache_folder, fetch, sha256_of

CONTENT = b"weights" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NUM_PROCESSES = 6


class _Slow(http.server.BaseHTTPRequestHandler):
    """Sends half, waits until it may go on, sends the rest; counts requests."""

    requests: list[str]
    half_sent: threading.Event
    go_on: threading.Event

    def do_GET(self):
        self.requests.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        middle = len(CONTENT) // 2
        self.wfile.write(CONTENT[:middle])
        self.half_sent.set()
        self.go_on.wait(60)
        self.wfile.write(CONTENT[middle:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    values = {"requests": [], "half_sent": threading.Event(), "go_on": threading.Event()}
    handler = type("Handler", (_Slow,), values)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        handler.url = f"http://127.0.0.1:{httpd.server_port}/vggish.ckpt"
        yield handler
        handler.go_on.set()
        httpd.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(ASSETS_DIR_VARIABLE, raising=False)
    return cache_folder()


def take(cache_home: str, file: SharedFile, results) -> None:
    os.environ["XDG_CACHE_HOME"] = cache_home
    path = file.local_path()
    results.put((path, sha256_of(path)))


@pytest.fixture
def workers(cache):
    """Starts processes that take a file, as a machine's workers do; gives them and their results."""
    results, started = CONTEXT.Queue(), []

    def start(file: SharedFile, number: int) -> list:
        new = [CONTEXT.Process(target=take, args=(str(cache.parent), file, results)) for _ in range(number)]
        for process in new:
            process.start()
        started.extend(new)
        return new

    yield start, results
    for process in started:
        process.kill()
        process.join()


def elsewhere(url: str) -> SharedFile:
    return SharedFile("/no/such/folder/vggish.ckpt", SHA256, url)


def test_processes_of_a_machine_download_once_even_if_one_is_killed(server, cache, workers):
    start, results = workers
    (first,) = start(elsewhere(server.url), 1)
    assert server.half_sent.wait(60)
    start(elsewhere(server.url), NUM_PROCESSES)  # they wait for it
    time.sleep(0.5)
    assert len(server.requests) == 1
    os.kill(first.pid, signal.SIGKILL)  # and one of them goes on
    server.go_on.set()
    found = {results.get(timeout=60) for _ in range(NUM_PROCESSES)}
    assert len(found) == 1 and found.pop()[1] == SHA256
    assert len(server.requests) == 2
    assert [p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"] == ["vggish.ckpt"]


def test_a_file_that_the_launcher_downloaded_is_not_downloaded_again(server, cache):
    server.go_on.set()
    path = fetch(server.url)
    assert SharedFile(path, sha256_of(path), server.url).local_path() == path
    assert elsewhere(server.url).local_path() == path  # as of another user of the machine
    assert len(server.requests) == 1


def test_the_file_of_an_image_is_used_if_its_hash_is_right(server, cache, tmp_path, monkeypatch):
    server.go_on.set()
    (tmp_path / "vggish.ckpt").write_bytes(CONTENT)
    monkeypatch.setenv(ASSETS_DIR_VARIABLE, str(tmp_path))
    assert elsewhere(server.url).local_path() == str(tmp_path / "vggish.ckpt") and not server.requests
    (tmp_path / "vggish.ckpt").write_bytes(b"others")
    assert sha256_of(elsewhere(server.url).local_path()) == SHA256 and len(server.requests) == 1


def test_a_file_that_changed_since_the_launch_is_refused(server, cache):
    server.go_on.set()
    changed = SharedFile("/no/such/folder/vggish.ckpt", "0" * 64, server.url)
    with pytest.raises(SettingError, match="has changed since the run began"):
        changed.local_path()


def test_the_message_names_a_missing_path_and_the_worker(cache, tmp_path):
    path = tmp_path / "vggish.ckpt"
    with pytest.raises(SettingError, match=r"vggish\.ckpt: does not exist on worker .*gs:// or https://"):
        SharedFile(str(path), SHA256).local_path()
    path.write_bytes(b"others")
    with pytest.raises(SettingError, match=r"vggish\.ckpt: is another file on worker"):
        SharedFile(str(path), SHA256).local_path()
    path.write_bytes(CONTENT)
    assert SharedFile(str(path), SHA256).local_path() == str(path)


def test_the_message_names_an_address_that_does_not_answer_and_the_worker(cache):
    with pytest.raises(
        SettingError, match=r"127\.0\.0\.1:9/x: could not be downloaded \(no connection\) on worker"
    ):
        SharedFile("/no/such/x", SHA256, "http://127.0.0.1:9/x").local_path()
