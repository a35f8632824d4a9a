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
from urllib.parse import urlsplit

import fasteners
import platformdirs
import pooch
import requests
from tqdm import tqdm

from transforms.errors import SettingError
from transforms.homes import ASSETS_DIR_VARIABLE, READ_ONLY_CACHE_VARIABLE
from transforms.printable import raw_stream
from transforms.redact import remember_address, shown_address, shown_text
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.checkpoint import V2_INDEX_SUFFIX

FETCH_ERRORS = (requests.RequestException, ValueError, *FILE_ERRORS)
# Limits to connect, and between two bytes: a network that drops packets must not delay a run for long.
TIMEOUT_S = (10, 60)

_V2_DATA_SUFFIX = ".data-00000-of-00001"
_BLOCK_BYTES = 1 << 20
_CACHE = "audioset-beam"


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

        If none of them has the file, it is downloaded to the cache; SettingError if this is not possible.
        """
        name = Path(self.path).name
        assets = os.environ.get(ASSETS_DIR_VARIABLE)
        folders = [*([Path(assets)] if assets else []), *cache_folders()]
        for path in (self.path, *(str(folder / name) for folder in folders)):
            if self._is_at(path):
                return path
        if self.address is None:
            problem = "is another file" if _parts(self.path) else "does not exist"
            raise SettingError(
                f"{self.path}: {problem} on worker {socket.gethostname()}; give a path that all workers can "
                "access, or put the file on gs:// or https:// and give its address"
            )
        cached = str(_cached_path(self.address, self.sha256))
        with _one_process_for(self.address) as folder:
            if not self._is_at(cached):
                try:
                    found = _fetch(self.address, folder, self.sha256)
                except FETCH_ERRORS as error:
                    raise SettingError(
                        f"{self.address}: could not be downloaded ({first_line(error)}) on worker "
                        f"{socket.gethostname()}; give a path or an address that all workers can access"
                    ) from error
                if found is None:
                    raise SettingError(
                        f"{self.address}: has changed since the run began (its sha256 was "
                        f"{self.sha256[:8]}…); start the run again"
                    )
        return cached

    def _is_at(self, path: str) -> bool:
        return bool(_parts(path)) and sha256_of(path) == self.sha256


def local_path(file: SharedFile | str) -> str:
    """Return the path on this machine of a shared file, or of a file that is given by its path."""
    return file if isinstance(file, str) else file.local_path()


def fetch(address: str) -> str:
    """Download a file to the user's cache, again at each call, and return its path.

    Args:
      address: `http(s)://`, also with user, password and signature, or of any filesystem that Beam
        supports. For a V2 checkpoint, its `.index` file.

    Raises:
      One of FETCH_ERRORS.
    """
    with _one_process_for(address) as folder:
        return str(_fetch(address, folder))


def cache_folder() -> Path:
    """Return the cache of downloaded files: the user's, or a private one if that cannot be written."""
    return Path(platformdirs.user_cache_dir(_CACHE))


def cache_folders() -> list[Path]:
    """Return where downloaded files may be: `cache_folder`, and the user's own cache if it is read-only."""
    read_only = os.environ.get(READ_ONLY_CACHE_VARIABLE)
    return [cache_folder(), *([Path(read_only, _CACHE)] if read_only else [])]


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


def download(address: str, path: str, of: pooch.Pooch | None) -> None:
    """Download from `http(s)://` with a progress bar on a terminal; raise one of FETCH_ERRORS.

    The signature is that of pooch's downloaders.
    """
    if not sys.stderr.isatty():
        pooch.HTTPDownloader(timeout=TIMEOUT_S)(address, path, of)
        return
    # pooch's own bar would write to the error stream, which escapes the characters that move the cursor.
    with _Bar(file=raw_stream(sys.stderr), ncols=79, unit="B", unit_scale=True) as bar:
        pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT_S)(address, path, of)


class _Bar(tqdm):
    def __bool__(self) -> bool:
        return True  # pooch checks whether there is a bar; tqdm's __bool__ returns whether the total is known


def first_line(error: Exception, address: str = "") -> str:
    """Return the first line of an error's message on an address, without secrets, at most 200 characters."""
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    # Secrets are hidden first: after the cut, a part of a secret would not be recognized.
    return (shown_text(str(error), address).splitlines() or [type(error).__name__])[0][:200]


def _parts(path: str) -> list[str]:
    if os.path.isfile(path) and not path.endswith(V2_INDEX_SUFFIX):
        return [path]
    path = path.removesuffix(V2_INDEX_SUFFIX)
    return sorted(f for f in glob.glob(f"{glob.escape(path)}.*") if os.path.isfile(f))


def _cached_path(address: str, sha256: str) -> Path:
    """Return the path of a file in the cache; it has no server and no query, which may contain secrets."""
    path = urlsplit(address).path if _is_http(address) else address
    return cache_folder() / "given" / sha256[:16] / (path.rsplit("/", 1)[-1] or "file")


@contextmanager
def _one_process_for(address: str) -> Iterator[Path]:
    """Yield a folder for the download of an address, to one process of this machine at a time."""
    remember_address(address)
    name = hashlib.sha256(shown_address(address).encode()).hexdigest()[:16]
    folder = cache_folder() / "given" / f".{name}"
    with one_process_at(folder):
        yield folder


def _fetch(address: str, folder: Path, sha256: str | None = None) -> Path | None:
    """Download a file, or both files of a V2 checkpoint, to the cache through a temporary folder.

    Returns:
      The path in the cache; None if the bytes do not have the given hash.
    """
    try:
        name = _cached_path(address, "").name
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        folder.mkdir(parents=True)
        _copy(address, folder / name)
        if name.endswith(V2_INDEX_SUFFIX):
            data = name.removesuffix(V2_INDEX_SUFFIX) + _V2_DATA_SUFFIX
            _copy(_with_name(address, data), folder / data)
        digest = sha256_of(str(folder / name))
        if sha256 is not None and digest != sha256:
            return None
        path = _cached_path(address, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The index is moved last: a process that finds it can read the data.
        for file in sorted(folder.iterdir()):
            file.replace(path.with_name(file.name))
        return path
    except FETCH_ERRORS as error:
        # Without its cause, whose text contains the address: a worker prints the causes of an error.
        raise OSError(first_line(error, address)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_name(address: str, name: str) -> str:
    """Return the address of another file in the same folder, with the same query."""
    if not _is_http(address):
        return f"{address.rpartition('/')[0]}/{name}"
    parts = urlsplit(address)
    return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}").geturl()


def _copy(address: str, path: Path) -> None:
    if _is_http(address):
        download(address, str(path), None)
        return
    with open_file(address) as source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)


def _is_http(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))
