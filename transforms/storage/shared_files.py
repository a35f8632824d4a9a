"""Files that every worker needs: fetched once a machine, however many processes ask, and checked."""

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
from transforms.homes import READ_ONLY_CACHE_VARIABLE
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.checkpoint import V2_INDEX_SUFFIX

ASSETS_DIR_VARIABLE = "VGGISH_ASSETS_DIR"
FETCH_ERRORS = (requests.RequestException, ValueError, *FILE_ERRORS)
# Connect, and between two bytes: a network that swallows packets must not hold a run up for long.
TIMEOUT_S = (10, 60)

_V2_DATA_SUFFIX = ".data-00000-of-00001"
_BLOCK_BYTES = 1 << 20
_CACHE = "audioset-beam"


@dataclass(frozen=True)
class SharedFile:
    """A file as a stage carries it: where the launcher has it, and where a worker elsewhere gets it.

    Attributes:
      path: on the launcher's machine.
      sha256: of its bytes, as `sha256_of`; no other file is ever used in its place.
      address: `gs://`, `https://` or another that is no path; None: workers must see the path itself.
    """

    path: str
    sha256: str
    address: str | None = None

    def local_path(self) -> str:
        """Its path on this machine: the launcher's, that of an image or of the user's cache, or fetched.

        Raises:
          SettingError: this machine has no file with these bytes, and cannot fetch it.
        """
        name = Path(self.path).name
        assets = os.environ.get(ASSETS_DIR_VARIABLE)
        folders = [*([Path(assets)] if assets else []), *cache_folders()]
        for path in (self.path, *(str(folder / name) for folder in folders)):
            if self._is_at(path):
                return path
        if self.address is None:
            there = "is another file" if _parts(self.path) else "is not there"
            raise SettingError(
                f"{self.path}: {there} on worker {socket.gethostname()}; give a path that all workers see, "
                "or put the file on gs:// or https:// and give its address"
            )
        cached = _cached_path(self.address)
        with one_process_at(cached):
            if not self._is_at(str(cached)):
                try:
                    _fetch(self.address, cached)
                except FETCH_ERRORS as error:
                    raise SettingError(
                        f"{self.address}: cannot be fetched ({first_line(error)}) on worker "
                        f"{socket.gethostname()}; give a path or an address that all workers see"
                    ) from error
                if not self._is_at(str(cached)):
                    raise SettingError(
                        f"{self.address}: is not the file that it was when the run began (sha256 "
                        f"{self.sha256[:8]}...); start it again"
                    )
        return str(cached)

    def _is_at(self, path: str) -> bool:
        return bool(_parts(path)) and sha256_of(path) == self.sha256


def local_path(file: SharedFile | str) -> str:
    """The path on this machine of a file that is shared, or that is a path already."""
    return file if isinstance(file, str) else file.local_path()


def fetch(address: str) -> str:
    """Fetches a file into the user's cache, anew each time, and returns its path there.

    Args:
      address: `http(s)://`, or of any filesystem that Beam knows; of a V2 checkpoint its `.index`.

    Raises:
      One of FETCH_ERRORS.
    """
    path = _cached_path(address)
    with one_process_at(path):
        _fetch(address, path)
    return str(path)


def cache_folder() -> Path:
    """The cache of fetched files: the user's, or a private one if that cannot be written."""
    return Path(platformdirs.user_cache_dir(_CACHE))


def cache_folders() -> list[Path]:
    """Where fetched files may be: `cache_folder`, and the user's own cache if that can only be read."""
    read_only = os.environ.get(READ_ONLY_CACHE_VARIABLE)
    return [cache_folder(), *([Path(read_only, _CACHE)] if read_only else [])]


@contextmanager
def one_process_at(path: Path) -> Iterator[None]:
    """Lets one process of this machine at a time work on a file; one that dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with fasteners.InterProcessLock(path.with_name(f".{path.name}.lock")):
        yield


def sha256_of(path: str) -> str:
    """Hex digest of a file on this machine; of a V2 checkpoint's prefix, of its index and data."""
    digest = hashlib.sha256()
    for part in _parts(path):
        with open(part, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def downloader() -> pooch.HTTPDownloader:
    """Downloads from `http(s)://`; a person who looks on sees how far it is."""
    return pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT_S)


def first_line(error: Exception) -> str:
    """What an error says, short enough for a line."""
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
    """Copies an address to a path, whole or not at all; only for the process that has it to itself."""
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
