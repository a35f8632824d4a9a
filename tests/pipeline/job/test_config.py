"""The configuration of a run: its inputs and assets fit its options."""

import numpy as np
import pytest
from sounds import write_noise
from trial_runs import TRIAL, refusal

from pipeline import run
from pipeline.assets.resolve import ResolvedAsset
from pipeline.cli.options import parse_options
from pipeline.job import config
from pipeline.job.path_checks import Inputs
from pipeline.job.validate import validate
from pipeline.verify import verify_folder
from transforms.audioset.layout import Sharding
from transforms.vggish.postprocess import RELEASED_RANGE, PcaParams, QuantizationRange

pytestmark = pytest.mark.usefixtures("stand_in_network")


def test_colliding_prefixes_are_refused_on_a_disk_that_folds_case(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "folds_case", lambda folder: True)
    for name in ("abc", "ABd"):
        write_noise(tmp_path / "audio" / f"{name}.wav", 1.0)
    good = [*TRIAL, f"--output={tmp_path}/out"]
    message = refusal([*good, f"--input={tmp_path}/audio/*"])
    assert "prefixes of ABd and abc collide" in message and "--sharding=hash:N" in message
    (tmp_path / "clips.tar").write_bytes(b"")
    assert "--sharding=hash:N" in refusal([*good, f"--input={tmp_path}/clips.tar"])
    # What does not collide, and hashed shards, are taken.
    assert run.run([*good, f"--input={tmp_path}/audio/abc.wav"]) == 0
    hashed = [*TRIAL, f"--output={tmp_path}/hashed", "--sharding=hash:2"]
    assert run.run([*hashed, f"--input={tmp_path}/audio/*"]) == 0
    assert verify_folder(f"{tmp_path}/hashed", strict=True).problems == []


def test_a_graph_that_never_runs_opens_no_file():
    flags = ["--input=gs://none/*", "--output=gs://none/out", "--segments=eval=gs://none/x.csv"]
    offline = config.prepare_offline(validate(parse_options(flags)))
    assert offline.inputs.paths == () and offline.assets.weights.path.startswith("https://")
    assert offline.clips.segments.files == (("eval", "gs://none/x.csv"),)
    assert offline.sharding == Sharding() and offline.options.split == "train"


@pytest.mark.parametrize(
    "paths, form, has_shards",
    [
        (["a.wav"], "auto", False),
        (["a.wav", "b.tar"], "auto", True),
        (["a.wav"], "tar", True),
        (["a.tar"], "audio", False),
    ],
)
def test_inputs_are_shards_by_their_names_or_by_the_option(paths, form, has_shards):
    options = parse_options(["--input=a", "--output=b", f"--input_format={form}"])
    assert config._has_shards(options, Inputs(paths)) == has_shards


def test_the_range_of_the_bytes_is_that_of_the_pca_file():
    pca = PcaParams(np.eye(128, dtype=np.float32), np.zeros((128, 1), np.float32), QuantizationRange(-3, 3))
    weights = ResolvedAsset("random:0", None, False)
    assert config.RunAssets(weights).quantization == RELEASED_RANGE
    assert config.RunAssets(weights, pca=pca).quantization == QuantizationRange(-3, 3)
