"""Provides the files that all workers need: each machine downloads and verifies a file at most once."""

import glob
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fasteners
import platformdirs
import pooch
import requests

from transforms.errors import SettingError
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.checkpoint import V2_INDEX_SUFFIX

ASSETS_DIR_VARIABLE = "VGGISH_ASSETS_DIR"
FETCH_ERRORS = (requests.RequestException, ValueError, *FILE_ERRORS)
# Limits to connect, and between two bytes: a network that drops packets must not delay a run for long.
TIMEOUT_S = (10, 60)

_V2_DATA_SUFFIX = ".data-00000-of-00001"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class SharedFile:
    """A reference to a file that a stage sends to its workers.

    Attributes:
      path: on the launcher's machine.
      sha256: of its bytes, as `sha256_of` returns; a file with another hash is never used.
      address: `gs://`, `https://` or similar, for workers that cannot access the path; None if all workers
        must have the path.
    """

    path: str
    sha256: str
    address: str | None = None

    def local_path(self) -> str:
        """Return the path on this machine: the launcher's path, the image's folder, or the user's cache.

        If none of them has the file, it is downloaded to the cache.

        Raises:
          SettingError: this machine does not have the file and cannot download it.
        """
        name = Path(self.path).name
        folders = [Path(folder) for folder in (os.environ.get(ASSETS_DIR_VARIABLE), cache_folder()) if folder]
        for path in (self.path, *(str(folder / name) for folder in folders)):
            if self._is_at(path):
                return path
        if self.address is None:
            problem = "is another file" if _parts(self.path) else "does not exist"
            raise SettingError(
                f"{self.path}: {problem} on worker {socket.gethostname()}; give a path that all workers can "
                "access, or put the file on gs:// or https:// and give its address"
            )
        cached = _cached_path(self.address)
        with one_process_at(cached):
            if not self._is_at(str(cached)):
                try:
                    _fetch(self.address, cached)
                except FETCH_ERRORS as error:
                    raise SettingError(
                        f"{self.address}: could not be downloaded ({first_line(error)}) on worker "
                        f"{socket.gethostname()}; give a path or an address that all workers can access"
                    ) from error
                if not self._is_at(str(cached)):
                    raise SettingError(
                        f"{self.address}: has changed since the run began (its sha256 was "
                        f"{self.sha256[:8]}…); start the run again"
                    )
        return str(cached)

    def _is_at(self, path: str) -> bool:
        return bool(_parts(path)) and sha256_of(path) == self.sha256


def local_path(file: SharedFile | str) -> str:
    """Return the path on this machine of a shared file, or of a file that is given by its path."""
    return file if isinstance(file, str) else file.local_path()


def fetch(address: str) -> str:
    """Download a file to the user's cache, again at each call, and return its path.

    Args:
      address: `http(s)://`, or of any filesystem that Beam supports. For a V2 checkpoint, its `.index` file.

    Raises:
      One of FETCH_ERRORS.
    """
    path = _cached_path(address)
    with one_process_at(path):
        _fetch(address, path)
    return str(path)


def cache_folder() -> Path:
    """Return the user's cache of downloaded files."""
    return Path(platformdirs.user_cache_dir("audioset-beam"))


@contextmanager
def one_process_at(path: Path) -> Iterator[None]:
    """Lock a file among the processes of this machine; the lock of a dead process is released."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with fasteners.InterProcessLock(path.with_name(f".{path.name}.lock")):
        yield


def sha256_of(path: str) -> str:
    """Return the hex digest of a local file; for a V2 checkpoint's prefix, of its index and data files."""
    digest = hashlib.sha256()
    for part in _parts(path):
        with open(part, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def downloader() -> pooch.HTTPDownloader:
    """Return a downloader for `http(s)://`, with a progress bar in a terminal."""
    return pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT_S)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _parts(path: str) -> list[str]:
    if os.path.isfile(path) and not path.endswith(V2_INDEX_SUFFIX):
        return [path]
    path = path.removesuffix(V2_INDEX_SUFFIX)
    return sorted(f for f in glob.glob(f"{glob.escape(path)}.*") if os.path.isfile(f))


def _cached_path(address: str) -> Path:
    folder = cache_folder() / "given" / hashlib.sha256(address.encode()).hexdigest()[:16]
    return folder / address.rsplit("/", 1)[-1]


def _fetch(address: str, path: Path) -> None:
    _copy(address, path)
    if address.endswith(V2_INDEX_SUFFIX):
        _copy(address.removesuffix(V2_INDEX_SUFFIX) + _V2_DATA_SUFFIX, path.with_suffix(_V2_DATA_SUFFIX))


def _copy(address: str, path: Path) -> None:
    """Copy a file from an address to a path, complete or not at all. The caller holds the path's lock."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if address.startswith(("http://", "https://")):
            downloader()(address, str(temporary), None)
        else:
            with open_file(address) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
