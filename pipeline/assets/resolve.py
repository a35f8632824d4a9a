"""Finds and checks the files that a run needs besides its audio, and computes their checksums."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.assets.released import CLASS_LABELS, PCA_PARAMS, WEIGHTS, Asset, find_asset
from pipeline.cli.option_groups import NO_PCA
from transforms.audioset.layout import check_split
from transforms.audioset.segments import RELEASED_SPLITS, split_of
from transforms.errors import SettingError
from transforms.inputs.read_segments import SegmentFiles, read_label_indices
from transforms.storage.files import is_local, open_file
from transforms.storage.globs import plain_path
from transforms.storage.shared_files import SharedFile, sha256_of
from transforms.vggish.checkpoint import RANDOM, check_weights
from transforms.vggish.postprocess import PcaParams, read_pca_params


@dataclass(frozen=True)
class ResolvedAsset:
    """An asset that was found and checked.

    Attributes:
      path: path on this machine, or `random:SEED`.
      sha256: checksum of the file; None for `random:SEED`.
      released: whether it is the released file.
      address: address for remote workers; None if the file is only on this machine.
    """

    path: str
    sha256: str | None
    released: bool
    address: str | None = None

    @property
    def shared(self) -> SharedFile | str:
        """The form in which a stage sends the asset to workers."""
        return self.path if self.sha256 is None else SharedFile(self.path, self.sha256, self.address)

    def __str__(self) -> str:
        if self.sha256 is None:
            return f"{self.path} (random numbers, for a trial)"
        origin = "the released file" if self.released else "not the released file"
        return f"{self.path} ({origin}, sha256 {self.sha256[:8]}...)"


def find_weights(given: str | None, assets_dir: str | None) -> ResolvedAsset:
    """Finds and checks VGGish weights; `given` is the value of `--weights`.

    Raises:
      SettingError: they cannot be found or downloaded, or are not VGGish weights.
    """
    if given is not None and given.startswith(RANDOM):
        check_weights(given)
        return ResolvedAsset(given, None, False)
    file = _resolve(WEIGHTS, given, assets_dir)
    check_weights(file.path)
    return file


def find_pca_params(
    given: str | None, assets_dir: str | None
) -> tuple[PcaParams | None, ResolvedAsset | None]:
    """Finds and reads PCA parameters; `given` is the value of `--pca_params`.

    Returns:
      The parameters and their file; (None, None) if `given` is `none`.

    Raises:
      SettingError: they cannot be found or downloaded, or are not PCA parameters of VGGish.
    """
    if given == NO_PCA:
        return None, None
    file = _resolve(PCA_PARAMS, given, assets_dir)
    with open_file(file.path) as opened:
        return read_pca_params(opened, file.path), file


def find_segments(
    given: Sequence[str] | None, class_labels: str | None, assets_dir: str | None
) -> tuple[SegmentFiles | None, ResolvedAsset | None]:
    """Finds and reads the segments CSVs of `--segments`, and the class labels that they use.

    Raises:
      SettingError: a file cannot be found or downloaded, or has an invalid row.
    """
    if not given:
        return None, None
    files = segment_files(given)
    labels = _resolve(CLASS_LABELS, class_labels, assets_dir)
    source = SegmentFiles.of(files, labels.shared)
    if not len(source.table()):
        raise SettingError(f"--segments={','.join(given)}: the files contain no segment; give other files")
    return source, labels


def segment_files(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns (split, path) of each segments CSV of `--segments`."""
    files = []
    for text in given:
        split, equals, path = text.partition("=")
        if not equals or "/" in split:
            is_missing = is_local(text) and not os.path.exists(plain_path(text))
            if is_missing and text.rsplit("/", 1)[-1] not in RELEASED_SPLITS:
                raise SettingError(f"--segments={text}: no such file; check the path")
            split, path = split_of(text), text
        files.append((check_split(split), plain_path(path)))
    return tuple(files)


def find_class_labels(given: str | None, assets_dir: str | None) -> ResolvedAsset | None:
    """Finds and checks class labels; `given` is the value of `--class_labels`.

    Returns:
      The file; None if nothing is given and the released file cannot be found or downloaded.

    Raises:
      SettingError: the given file cannot be found or downloaded, or is not a file of class labels.
    """
    try:
        file = _resolve(CLASS_LABELS, given, assets_dir)
        read_label_indices(file.shared)
        return file
    except SettingError:
        if given is not None:
            raise
        return None


def _resolve(asset: Asset, given: str | None, assets_dir: str | None) -> ResolvedAsset:
    path = find_asset(asset, given, assets_dir)
    sha256 = sha256_of(path)
    released = sha256 == asset.sha256
    if given is not None and not is_local(given):
        return ResolvedAsset(path, sha256, released, given)
    return ResolvedAsset(path, sha256, released, asset.url if released else None)
