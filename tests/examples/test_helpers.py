"""Held-out names are chosen by hash; files and folders of models are written safely."""

from argparse import Namespace

import numpy as np
import pytest
from helpers import check_at_least_one, check_new_model, is_held_out, write_atomic

from transforms.errors import SettingError


def test_a_tenth_is_held_out_and_always_the_same():
    names = [f"video-{n}" for n in range(20_000)]
    chosen = [is_held_out(name, 0.1) for name in names]
    assert 0.095 < np.mean(chosen) < 0.105
    assert chosen == [is_held_out(name.encode(), 0.1) for name in names]
    assert not any(is_held_out(name, 0.0) for name in names)


def test_options_below_one_are_refused_and_options_not_given_are_not():
    check_at_least_one(Namespace(epochs=1, members=None), "epochs", "members")
    with pytest.raises(SettingError, match="--members=0: give 1 or more"):
        check_at_least_one(Namespace(epochs=1, members=0), "epochs", "members")


def test_a_folder_for_a_model_is_made_and_one_with_a_model_is_refused(tmp_path):
    folder = tmp_path / "new" / "model"
    check_new_model(folder, "model.keras")
    assert folder.is_dir() and not list(folder.iterdir())
    (folder / "model.keras").touch()
    with pytest.raises(SettingError, match=r"already contains model\.keras"):
        check_new_model(folder, "model.keras")
    with pytest.raises(SettingError, match="cannot be written"):
        check_new_model(folder / "model.keras" / "below", "model.keras")


def test_a_file_that_cannot_be_written_does_not_appear(tmp_path):
    def fail(path):
        path.write_text("half")
        raise SettingError("no")

    with pytest.raises(SettingError):
        write_atomic(tmp_path / "model", fail)
    assert not list(tmp_path.iterdir())
    write_atomic(tmp_path / "model", lambda path: path.write_text("whole"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
