"""The assets of a run are found, checked and described."""

import hashlib

import numpy as np
import pytest

from pipeline.assets import released, resolve
from pipeline.assets.resolve import (
    ResolvedAsset,
    find_class_labels,
    find_pca_params,
    find_segments,
    find_weights,
    segment_files,
)
from transforms.errors import SettingError
from transforms.storage.shared_files import SharedFile

LABELS = "index,mid,display_name\n0,/m/a,A\n"


@pytest.fixture
def labels(tmp_path) -> str:
    (tmp_path / "labels.csv").write_text(LABELS)
    return str(tmp_path / "labels.csv")


def test_bad_segments_name_file_and_line(labels, tmp_path):
    csv = tmp_path / "x.csv"
    for text, message in (
        ('# a\nid, 0, 10, "/m/zz"\n', "line 2: label '/m/zz' is not among the 1 classes;"),
        ("id, 10, 0, /m/a\n", "line 1: 'id' from 10.0 to 0.0 s is not a segment"),
        ("# only a comment\n", f"--segments=eval={csv}: the files contain no segment"),
    ):
        csv.write_text(text)
        with pytest.raises(SettingError, match=message):
            find_segments([f"eval={csv}"], labels, None)
    csv.unlink()
    with pytest.raises(SettingError, match="cannot be read"):
        find_segments([f"eval={csv}"], labels, None)


def test_segments_are_read_with_their_labels(labels, tmp_path):
    (tmp_path / "x.csv").write_text('id, 1, 3, "/m/a"\n')
    segments, found = find_segments([f"eval={tmp_path}/x.csv"], labels, None)
    (segment,) = segments.table()
    assert (segment.split, segment.video_id, segment.labels) == ("eval", "id", (0,))
    assert found.path == labels and not found.released
    assert find_segments(None, labels, None) == find_segments([], labels, None) == (None, None)


def test_a_split_is_given_or_that_of_the_released_name(tmp_path):
    given = ["mine=a//b.csv", "d/eval_segments.csv", "/a=b/balanced_train_segments.csv"]
    files = [("mine", "a/b.csv"), ("eval", given[1]), ("bal_train", given[2])]
    assert segment_files(given) == tuple(files)
    (tmp_path / "other.csv").touch()
    for bad in (str(tmp_path / "other.csv"), "..=a.csv"):
        with pytest.raises(SettingError, match="split"):
            segment_files([bad])
    for missing in ("nope.csv", "../x=a.csv"):
        with pytest.raises(SettingError, match=f"--segments={missing}: no such file; check the path"):
            segment_files([missing])


def test_random_weights_are_no_file():
    weights = find_weights("random:3", None)
    assert (weights.path, weights.sha256, weights.shared) == ("random:3", None, "random:3")
    assert not weights.released and weights.address is None
    assert str(weights) == "random:3 (random numbers, for a trial)"
    with pytest.raises(SettingError, match="'x' is not a seed"):
        find_weights("random:x", None)


def test_pca_parameters_are_read_or_none(tmp_path):
    assert find_pca_params("none", None) == (None, None)
    path = tmp_path / "pca.npz"
    np.savez(path, pca_eigen_vectors=np.eye(128), pca_means=np.ones((128, 1)))
    pca, file = find_pca_params(str(path), None)
    assert pca.means.ravel().tolist() == [1.0] * 128
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.shared == SharedFile(str(path), file.sha256, None)
    assert str(file) == f"{path} (not the released file, sha256 {file.sha256[:8]}...)"


def test_class_labels_may_be_missing_unless_they_are_given(labels, monkeypatch, tmp_path):
    assert find_class_labels(labels, None).path == labels
    with pytest.raises(SettingError, match="no such file"):
        find_class_labels(f"{tmp_path}/none.csv", None)

    def unavailable(*_):
        raise SettingError("no connection")

    monkeypatch.setattr(resolve, "find_asset", unavailable)
    assert find_class_labels(None, None) is None


@pytest.mark.parametrize(
    "given, is_released, address",
    [
        (None, True, released.CLASS_LABELS.url),
        ("local.csv", True, released.CLASS_LABELS.url),
        ("local.csv", False, None),
        ("gs://b/labels.csv", True, "gs://b/labels.csv"),
        ("gs://b/labels.csv", False, "gs://b/labels.csv"),
    ],
)
def test_workers_get_an_address_if_there_is_one(labels, monkeypatch, given, is_released, address):
    sha256 = released.CLASS_LABELS.sha256 if is_released else "0" * 64
    monkeypatch.setattr(resolve, "find_asset", lambda *_: labels)
    monkeypatch.setattr(resolve, "sha256_of", lambda path: sha256)
    found = resolve._resolve(released.CLASS_LABELS, given, None)
    assert found == ResolvedAsset(labels, sha256, is_released, address)


def test_weights_are_given_or_in_the_assets_folder_and_are_checked(monkeypatch, tmp_path):
    there, given = tmp_path / released.WEIGHTS.file_name, tmp_path / "given.ckpt"
    there.write_bytes(b"there")
    given.write_bytes(b"given")
    checked = []
    monkeypatch.setattr(resolve, "check_weights", checked.append)
    for value, path in ((None, there), (str(given), given)):
        found = find_weights(value, str(tmp_path))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found == ResolvedAsset(str(path), sha256, False, None)
    assert checked == [str(there), str(given)]


def test_pca_parameters_may_be_in_the_assets_folder(tmp_path):
    path = tmp_path / released.PCA_PARAMS.file_name
    np.savez(path, pca_eigen_vectors=np.eye(128), pca_means=np.ones((128, 1)))
    pca, file = find_pca_params(None, str(tmp_path))
    assert file.path == str(path) and pca.means.ravel().tolist() == [1.0] * 128
