"""Analyses in a temporary folder, of feature folders that have frames."""

import sys
from pathlib import Path
from types import SimpleNamespace

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from folders import CODES, write_corpus
from test_analyze import refused

from pipeline import analyze, fit_pca
from pipeline.statistics.passes import FrameFolder, _temporary_folder
from transforms.errors import OutputError, SettingError


@pytest.mark.parametrize("command, flags", [(analyze, []), (fit_pca, ["--output=p.npz"])])
def test_a_missing_tensorflow_transform_is_one_line(monkeypatch, capsys, command, flags):
    monkeypatch.setitem(sys.modules, "tensorflow_transform", None)
    message = refused(capsys, command, "--features=raw", *flags)
    assert message.startswith("TensorFlow Transform is not installed; pip install 'audioset-beam[analysis]'")


def test_a_folder_has_the_kind_of_its_frames(tmp_path):
    folder = write_corpus(tmp_path / "bytes", CODES[:2])
    found = FrameFolder.at(str(folder))
    assert (found.kind, found.path, len(found.folder.shards)) == ("quantized", str(folder), 2)
    assert FrameFolder.at(str(write_corpus(tmp_path / "raw", CODES[:2].astype(np.float32)))).kind == "raw"
    with pytest.raises(SettingError, match="none of its shards has frames; give another folder"):
        FrameFolder.at(str(write_corpus(tmp_path / "empty", CODES[:2, :0])))


def test_a_folder_that_was_emptied_meanwhile_is_an_error(tmp_path):
    folder = FrameFolder.at(str(write_corpus(tmp_path / "bytes", CODES[:1])))
    with pytest.raises(OutputError, match=f"{folder.path}: another program emptied it"):
        folder.moments(SimpleNamespace(moments=None))
    assert folder.moments(SimpleNamespace(moments=5)) == 5


def test_the_folder_of_an_analysis_is_new_and_deleted(tmp_path):
    pipeline = beam.Pipeline(options=PipelineOptions([f"--temp_location={tmp_path}/temp"]))
    with pytest.raises(ZeroDivisionError), _temporary_folder(pipeline) as folder:
        assert Path(folder).parent == tmp_path / "temp"
        (Path(folder) / "graph").mkdir()
        _ = 1 / 0
    assert not Path(folder).exists()
    (tmp_path / "file").touch()
    bad = beam.Pipeline(options=PipelineOptions([f"--temp_location={tmp_path}/file/temp"]))
    message = f"--temp_location={tmp_path}/file/temp: cannot be written"
    with pytest.raises(SettingError, match=message), _temporary_folder(bad):
        pass
