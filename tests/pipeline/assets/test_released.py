"""Released files are found or downloaded, from a real HTTP server on this machine."""

import hashlib
import http.server
import os
import threading
import time

import pytest
from forking import CONTEXT

from pipeline.assets.released import Asset, find_asset
from transforms.errors import SettingError
from transforms.homes import ASSETS_DIR_VARIABLE
from transforms.storage.shared_files import cache_folder, sha256_of

CONTENT = b"weights" * 1000


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves whole, cut.ckpt (half of the bytes it promises), stuck.ckpt (some of them, and waits) and V2
    files; counts requests."""

    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if "stuck" in self.path:
            self.wfile.write(CONTENT[:100])
            self.rfile.read()  # until it hangs up
            return
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if "cut" in self.path else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (_Files,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        handler.url = f"http://127.0.0.1:{httpd.server_port}"
        yield handler
        httpd.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(ASSETS_DIR_VARIABLE, raising=False)
    return cache_folder()


def asset(url: str, content: bytes = CONTENT) -> Asset:
    sha256 = hashlib.sha256(content).hexdigest()
    return Asset("checkpoint", "--weights", "released.ckpt", url, sha256, "--weights=random:0")


def files_in(folder) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_a_download_is_checked_cached_and_not_repeated(server, cache):
    released = asset(f"{server.url}/released.ckpt")
    path = find_asset(released, None, None)
    assert path == str(cache / "released.ckpt") and sha256_of(path) == released.sha256
    assert find_asset(released, None, None) == path
    assert server.requests == ["/released.ckpt"]
    assert files_in(cache) == ["released.ckpt"]


@pytest.mark.parametrize(
    "name, content", [("wrong.ckpt", b"other"), ("cut.ckpt", CONTENT), ("missing.ckpt", CONTENT)]
)
def test_a_bad_download_leaves_the_cache_empty_and_the_error_names_fixes(server, cache, name, content):
    with pytest.raises(SettingError) as caught:
        find_asset(asset(f"{server.url}/{name}", content), None, None)
    message = str(caught.value)
    for part in ("released.ckpt", f"{server.url}/{name}", str(cache)):  # the file and what was tried
        assert part in message
    for fallback_hint in ("--assets_dir=", "--weights=PATH", "--weights=random:0"):
        assert fallback_hint in message
    assert files_in(cache) == []


def download(url: str, cache_home: str) -> None:
    os.environ["XDG_CACHE_HOME"] = cache_home
    os.environ.pop(ASSETS_DIR_VARIABLE, None)
    find_asset(asset(url), None, None)


def test_the_next_download_deletes_what_a_killed_one_left(server, cache):
    process = CONTEXT.Process(
        target=download, args=(f"{server.url}/stuck.ckpt", os.environ["XDG_CACHE_HOME"])
    )
    process.start()
    for _ in range(3000):
        if files_in(cache):
            break
        time.sleep(0.01)
    process.kill()
    process.join()
    assert files_in(cache)
    find_asset(asset(f"{server.url}/released.ckpt"), None, None)
    assert files_in(cache) == ["released.ckpt"]


def test_a_missing_connection_is_named(cache):
    with pytest.raises(SettingError, match="no connection"):
        find_asset(asset("http://127.0.0.1:9/released.ckpt"), None, None)


def test_order_is_given_path_then_assets_folder_then_cache(server, cache, tmp_path, monkeypatch):
    released = asset(f"{server.url}/released.ckpt")
    cached = find_asset(released, None, None)
    folder, environment = tmp_path / "folder", tmp_path / "environment"
    for place in (folder, environment):
        place.mkdir()
        (place / "released.ckpt").write_bytes(b"mine")
    given = tmp_path / "given.ckpt"
    given.write_bytes(b"given")

    assert find_asset(released, None, None) == cached
    monkeypatch.setenv(ASSETS_DIR_VARIABLE, str(environment))
    assert find_asset(released, None, None) == str(environment / "released.ckpt")
    assert find_asset(released, None, str(folder)) == str(folder / "released.ckpt")
    assert find_asset(released, str(given), str(folder)) == str(given)


def test_a_missing_given_path_is_never_replaced(cache, tmp_path):
    with pytest.raises(SettingError, match=r"--weights=.*none\.ckpt: no such file"):
        find_asset(asset("http://127.0.0.1:9/x"), str(tmp_path / "none.ckpt"), None)


def test_a_prefix_of_a_v2_checkpoint_may_be_given(cache, tmp_path):
    prefix = tmp_path / "mine.ckpt"
    (tmp_path / "mine.ckpt.index").touch()
    assert find_asset(asset("unused"), str(prefix), None) == str(prefix)
    (tmp_path / "mine.ckpt.index").rename(tmp_path / "mine.ckpt.data-00000-of-00001")
    with pytest.raises(SettingError, match=r"mine\.ckpt: no such file"):
        find_asset(asset("unused"), str(prefix), None)


def test_a_given_address_is_fetched_at_each_run(server, cache):
    url = f"{server.url}/mine.ckpt"
    for _ in range(2):
        with open(find_asset(asset("unused"), url, None), "rb") as file:
            assert file.read() == CONTENT
    assert server.requests == ["/mine.ckpt"] * 2
    assert files_in(cache) == ["mine.ckpt"]


def test_a_given_v2_index_brings_its_data(server, cache):
    path = find_asset(asset("unused"), f"{server.url}/mine.ckpt.index", None)
    assert path.endswith("mine.ckpt.index")
    assert files_in(cache) == ["mine.ckpt.data-00000-of-00001", "mine.ckpt.index"]


@pytest.mark.parametrize("name", ["missing.ckpt", "cut.ckpt"])
def test_a_given_address_that_fails_is_an_error_and_leaves_nothing(server, cache, name):
    with pytest.raises(SettingError, match=f"--weights={server.url}/{name}: could not be downloaded"):
        find_asset(asset("unused"), f"{server.url}/{name}", None)
    assert files_in(cache) == []


@pytest.mark.parametrize("name", ["a", "[1]*"])
def test_sha256_of_a_v2_prefix_covers_index_and_data(tmp_path, name):
    tmp_path /= name
    tmp_path.mkdir()
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"x.ckpt{suffix}").write_bytes(suffix.encode())
    before = sha256_of(str(tmp_path / "x.ckpt"))
    assert sha256_of(str(tmp_path / "x.ckpt.index")) == before
    (tmp_path / "x.ckpt.data-00000-of-00001").write_bytes(b"changed")
    assert sha256_of(str(tmp_path / "x.ckpt")) != before
