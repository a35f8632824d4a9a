"""The configuration of a run: its inputs and assets fit its options."""

import json

import numpy as np
import pytest
from sounds import write_noise
from trial_runs import TRIAL, refusal

from pipeline import run
from pipeline.assets.released import CLASS_LABELS
from pipeline.assets.resolve import ResolvedAsset
from pipeline.cli.options import parse_options
from pipeline.job import config
from pipeline.job.path_checks import Inputs
from pipeline.job.validate import validate
from pipeline.verify import verify_folder
from transforms.audioset.layout import Sharding
from transforms.clips import RejectedClip
from transforms.errors import Reason, SettingError
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


def remote(*flags: str):
    """The options of a run on Dataflow over a shard, whose records may need class labels."""
    needed = ["--runner=DataflowRunner", "--input=gs://b/x.tar", "--output=gs://b/out", "--pca_params=none"]
    return validate(parse_options([*needed, "--weights=random:0", *flags]))


def test_class_labels_that_workers_elsewhere_cannot_see_are_refused(tmp_path):
    labels = tmp_path / CLASS_LABELS.file_name
    labels.write_text("index,mid,display_name\n0,/m/a,A\n")
    valid = remote(f"--assets_dir={tmp_path}")
    with pytest.raises(SettingError, match=f"^{labels}: Dataflow's workers cannot access"):
        config._resolve_assets(valid, Inputs(("gs://b/x.tar",)))


@pytest.mark.parametrize("address, is_refused", [(None, True), ("gs://b/own.ckpt", False)])
def test_weights_that_workers_elsewhere_cannot_see_are_refused(monkeypatch, address, is_refused):
    """All weights have an address except a local file that is not the released one."""
    weights = ResolvedAsset("/here/vggish_model.ckpt", "0" * 64, False, address)
    monkeypatch.setattr(config, "find_weights", lambda *_: weights)
    if not is_refused:
        assert config._resolve_assets(remote(), Inputs()).weights is weights
        return
    with pytest.raises(SettingError, match=r"^/here/vggish_model\.ckpt: Dataflow's workers cannot access"):
        config._resolve_assets(remote(), Inputs())


def prepared(*flags: str) -> config.Config:
    return config.prepare(validate(parse_options([*TRIAL, *flags])))


def test_lists_without_a_rejected_clip_are_refused(tmp_path):
    (tmp_path / "rejected-00000-of-00001.jsonl").touch()
    flags = [f"--input_rejects={tmp_path}/rejected-*", f"--output={tmp_path}/out"]
    with pytest.raises(SettingError, match=r"rejected-\*: the lists contain no rejected clip; there is"):
        prepared(*flags)


@pytest.mark.parametrize("plan", [[], ["--plan"]])
def test_the_inputs_of_rejects_are_their_files_and_a_plan_writes_nothing(tmp_path, plan):
    files = ["/d/b.wav", "/d/a.tar", "/d/a.tar"]
    clips = [
        RejectedClip("train", f"{n}", 0.0, file, n, "s", Reason.CORRUPT, "m") for n, file in enumerate(files)
    ]
    lists = [tmp_path / f"rejected-{n:05d}-of-00002.jsonl" for n in range(2)]
    for path, rows in zip(lists, (clips[:2], clips[2:]), strict=True):
        path.write_text("".join(f"{json.dumps(clip.to_json())}\n" for clip in rows))
    found = prepared(f"--input_rejects={tmp_path}/rejected-*", f"--output={tmp_path}/out", *plan)
    assert list(found.inputs.paths) == ["/d/a.tar", "/d/b.wav"]
    assert found.clips.rejects is not None and found.clips.rejects.paths == tuple(map(str, lists))
    assert (tmp_path / "out").exists() != bool(plan)
