"""Finds the released files that a run needs: at a given path, in the cache, or by download."""

import os
from dataclasses import dataclass
from pathlib import Path

import requests

from transforms.errors import SettingError
from transforms.homes import ASSETS_DIR_VARIABLE
from transforms.storage.files import is_local
from transforms.storage.shared_files import (
    FETCH_ERRORS,
    cache_folder,
    cache_folders,
    download,
    fetch,
    first_line,
    one_process_at,
    sha256_of,
)
from transforms.vggish.checkpoint import V2_INDEX_SUFFIX


@dataclass(frozen=True)
class Asset:
    """A released file, its address and checksum, and the option that replaces it.

    Attributes:
      name, file_name: name for messages, and released file name.
      fallback_hint: what a user without the file can do, besides giving a path or a folder.
    """

    name: str
    option: str
    file_name: str
    url: str
    sha256: str
    fallback_hint: str


WEIGHTS = Asset(
    "VGGish checkpoint",
    "--weights",
    "vggish_model.ckpt",
    "https://storage.googleapis.com/audioset/vggish_model.ckpt",
    "0962b1914e3e053922d957c45bc84a78c985765641dc6bceeeb3a7d8dfecfdf6",
    "give --weights=random:0 for a trial with random numbers",
)
PCA_PARAMS = Asset(
    "PCA parameters",
    "--pca_params",
    "vggish_pca_params.npz",
    "https://storage.googleapis.com/audioset/vggish_pca_params.npz",
    "4d878af3e306defbfb37095365aa7e5a6cecb86bad13e859e626151c4e6a8b9d",
    "give --pca_params=none for features without PCA, unlike the release",
)
CLASS_LABELS = Asset(
    "class labels",
    "--class_labels",
    "class_labels_indices.csv",
    "https://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/class_labels_indices.csv",
    "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429",
    "leave out --segments, for features without labels",
)


def find_asset(asset: Asset, given: str | None, assets_dir: str | None) -> str:
    """Returns the path of an asset on this machine.

    The sources, in this order: `given`, which is a path or an address; the file with the released name in
    `assets_dir` or in the folder of the environment variable; the user's cache; download.

    Raises:
      SettingError: `given` does not exist, or the asset is not found and cannot be downloaded.
    """
    if given is not None:
        return _given_file(asset, given)
    tried = []
    folder = assets_dir or os.environ.get(ASSETS_DIR_VARIABLE)
    for place in ([Path(folder)] if folder else []) + cache_folders():
        path = str(place / asset.file_name)
        if os.path.isfile(path):  # Path.is_file raises an error if a folder cannot be entered
            return path
        tried.append(path)
    try:
        return _download(asset)
    except (requests.RequestException, ValueError, OSError) as error:
        tried.append(f"{asset.url} ({first_line(error)})")
        raise SettingError(
            f"{asset.name} {asset.file_name} could not be found or downloaded; tried {', '.join(tried)}. To "
            f"fix this: copy it to a folder and give --assets_dir=FOLDER; or give {asset.option}=PATH; or "
            f"{asset.fallback_hint}"
        ) from error


def _given_file(asset: Asset, given: str) -> str:
    if is_local(given):
        if os.path.isfile(given) or os.path.isfile(given + V2_INDEX_SUFFIX):
            return given
        raise SettingError(f"{asset.option}={given}: no such file; check the path")
    try:
        # Downloaded again for each run, since the file at the user's address may have changed.
        return fetch(given)
    except FETCH_ERRORS as error:
        raise SettingError(
            f"{asset.option}={given}: could not be downloaded ({first_line(error)}); give a path on this "
            "machine"
        ) from error


def _download(asset: Asset) -> str:
    """Downloads a released file to the cache atomically and checks it; only one process does so at a time."""
    path = cache_folder() / asset.file_name
    # This process has exclusive access to the path, so it can overwrite the file of a killed process.
    temporary = path.with_name(f".{path.name}.tmp")
    with one_process_at(path):
        if path.is_file():
            return str(path)
        try:
            download(asset.url, str(temporary), None)
            if sha256_of(str(temporary)) != asset.sha256:
                raise ValueError(f"it is not the released file: its SHA-256 is not {asset.sha256[:8]}…")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return str(path)
