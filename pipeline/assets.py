"""The released files that a run needs: found where the user says, in the cache, or downloaded."""

import glob
import hashlib
import logging
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pooch
import requests

from transforms.errors import SettingError
from transforms.files import FILE_ERRORS, open_file
from transforms.vggish.checkpoint import V2_INDEX_SUFFIX

ASSETS_DIR_VARIABLE = "VGGISH_ASSETS_DIR"
# Connect, and between two bytes: a network that swallows packets must not hold a run up for long.
_TIMEOUT_S = (10, 60)
_V2_DATA_SUFFIX = ".data-00000-of-00001"


@dataclass(frozen=True)
class Asset:
    """A released file.

    Attributes:
      name: what it is, for a person.
      option: the flag that gives another one.
      file_name: as released.
      url, sha256: of the release.
      way_out: what else a user can do who cannot have it, beside giving a path or a folder.
    """

    name: str
    option: str
    file_name: str
    url: str
    sha256: str
    way_out: str


WEIGHTS = Asset(
    "VGGish checkpoint",
    "--weights",
    "vggish_model.ckpt",
    "https://storage.googleapis.com/audioset/vggish_model.ckpt",
    "0962b1914e3e053922d957c45bc84a78c985765641dc6bceeeb3a7d8dfecfdf6",
    "--weights=random:0 for a trial whose embeddings mean nothing",
)
PCA_PARAMS = Asset(
    "PCA parameters",
    "--pca_params",
    "vggish_pca_params.npz",
    "https://storage.googleapis.com/audioset/vggish_pca_params.npz",
    "4d878af3e306defbfb37095365aa7e5a6cecb86bad13e859e626151c4e6a8b9d",
    "--pca_params=none for features without PCA, unlike the release",
)
CLASS_LABELS = Asset(
    "class labels",
    "--class_labels",
    "class_labels_indices.csv",
    "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/class_labels_indices.csv",
    "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429",
    "no --segments for features without labels",
)


def cache_folder() -> Path:
    """The user's cache of downloaded assets."""
    return Path(platformdirs.user_cache_dir("audioset-beam"))


def find_asset(asset: Asset, given: str | None, assets_dir: str | None) -> str:
    """Path of an asset on this machine.

    Looked for in this order: `given`, `assets_dir` (or the environment's), the user's cache, download.

    Args:
      asset: which.
      given: a path, `gs://` or `https://` that the user gives for it.
      assets_dir: a folder to look in first, by the released file name.

    Raises:
      SettingError: `given` does not exist, or nothing has the asset and it cannot be downloaded.
    """
    if given is not None:
        return _given_file(asset, given)
    tried = []
    folder = assets_dir or os.environ.get(ASSETS_DIR_VARIABLE)
    if folder:
        path = Path(folder, asset.file_name)
        if path.is_file():
            return str(path)
        tried.append(str(path))
    path = cache_folder() / asset.file_name
    if path.is_file():
        return str(path)
    tried.append(str(path))
    try:
        return _download(asset)
    except (requests.RequestException, ValueError, OSError) as error:
        tried.append(f"{asset.url} ({_cause(error)})")
        raise SettingError(
            f"{asset.name} {asset.file_name} cannot be had; tried {', '.join(tried)}. Ways out: copy it "
            f"to a folder and give --assets_dir=FOLDER; or give {asset.option}=PATH; or {asset.way_out}"
        ) from error


def sha256_of(path: str) -> str:
    """Hex digest of a file on this machine; of a V2 checkpoint's prefix, of its index and data."""
    digest = hashlib.sha256()
    for part in _parts(path):
        with open(part, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _parts(path: str) -> list[str]:
    if os.path.isfile(path) and not path.endswith(V2_INDEX_SUFFIX):
        return [path]
    path = path.removesuffix(V2_INDEX_SUFFIX)
    return sorted(f for f in glob.glob(f"{glob.escape(path)}.*") if os.path.isfile(f))


def _given_file(asset: Asset, given: str) -> str:
    if "://" not in given:
        if os.path.isfile(given) or os.path.isfile(given + V2_INDEX_SUFFIX):
            return given
        raise SettingError(f"{asset.option}={given}: no such file; check the path")
    folder = cache_folder() / "given" / hashlib.sha256(given.encode()).hexdigest()[:16]
    path = folder / given.rsplit("/", 1)[-1]
    try:
        # Again at each run: the file behind an address of the user's own may be another one by now.
        _fetch(given, path)
        if given.endswith(V2_INDEX_SUFFIX):
            _fetch(
                given.removesuffix(V2_INDEX_SUFFIX) + _V2_DATA_SUFFIX,
                path.with_suffix(_V2_DATA_SUFFIX),
            )
    except (requests.RequestException, ValueError, *FILE_ERRORS) as error:
        raise SettingError(
            f"{asset.option}={given}: cannot be fetched ({_cause(error)}); give a path on this machine"
        ) from error
    return str(path)


def _download(asset: Asset) -> str:
    """Downloads a released file into the cache, checked, whole or not at all."""
    pooch.get_logger().setLevel(logging.WARNING)
    return pooch.retrieve(
        asset.url,
        known_hash=f"sha256:{asset.sha256}",
        fname=asset.file_name,
        path=cache_folder(),
        downloader=_downloader(),
    )


def _downloader() -> pooch.HTTPDownloader:
    return pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_S)


def _fetch(address: str, path: Path) -> None:
    """Copies an `http(s)://` address or a path of any filesystem to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        if address.startswith(("http://", "https://")):
            _downloader()(address, str(temporary), None)
        else:
            with open_file(address) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _cause(error: Exception) -> str:
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
