"""The manifest: the settings that determine the features, and nothing secret."""

import hashlib
import json

import keras
import pytest

from pipeline.cli.options import parse_options
from pipeline.job.config import prepare_offline
from pipeline.job.manifest import _shown_run, make_manifest, package_versions, settings_of, shown_options
from pipeline.job.validate import validate
from pipeline.output.account import Account
from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.shard_list import root_of
from transforms.features.open_shard import ShardFile

REQUIRED = ["--input=a", "--output=b", "--weights=random:0"]


def config_of(*flags: str):
    return prepare_offline(validate(parse_options([*REQUIRED, *flags])))


@pytest.mark.parametrize(
    "flag, name, value",
    [
        ("--weights=random:1", "weights", "random:1"),
        ("--precision=bfloat16", "precision", "bfloat16"),
        ("--resampler=soxr", "resampler", "soxr"),
        ("--frontend=accelerator", "frontend", "accelerator"),
        ("--postprocess=raw", "postprocess", "raw"),
        ("--output_schema=youtube8m", "output_schema", "youtube8m"),
        ("--example_hop_seconds=0.48", "example_hop_seconds", 0.48),
        ("--segment_seconds=2", "segment_seconds", 2.0),
        ("--pad_short=repeat", "pad_short", "repeat"),
        ("--sharding=hash:2", "sharding", "hash:2"),
    ],
)
def test_an_option_that_changes_features_is_a_setting(flag, name, value):
    before, after = settings_of(config_of()), settings_of(config_of(flag))
    assert after[name] == value and before | {name: value} == after != before


def test_the_settings_are_all_that_determines_features():
    settings = settings_of(config_of())
    assert settings.keys() == {
        *("weights", "pca_params", "quantization_range", "precision", "resampler", "frontend", "postprocess"),
        *("output_schema", "example_hop_seconds", "segment_seconds", "pad_short", "sharding", "backend"),
        "decoders",
    }
    assert settings["backend"] == keras.backend.backend() == "tensorflow"


@pytest.mark.parametrize("flag", ["--batch_size=8", "--split=x", "--max_reject_fraction=1", "--quiet"])
def test_an_option_that_changes_no_features_is_no_setting(flag):
    assert settings_of(config_of(flag)) == settings_of(config_of())


def test_a_run_has_no_account_until_its_end():
    before = FeatureFolder("b", (), (), False, None)
    begun = json.loads(make_manifest(config_of(), before, "Runner", "then"))
    assert (begun["runner"], begun["started"], begun["history"]) == ("Runner", "then", [])
    assert [begun[name] for name in ("finished", "account", "audio", "clips", "root")] == [None] * 5
    assert begun["assets"]["weights"]["path"] == "random:0" and begun["assets"]["pca_params"] is None
    rows = [["train", "written", 1], ["train", "frames", 3], ["train", "audio_ms", 2500]]
    account = Account.from_json({"counts": rows, "lost": []})
    folder = FeatureFolder("b", (), (), True, begun | {"finished": "then"})
    shards = [ShardFile(f"{name}.tfrecord", 2, 9, "00") for name in ("a/x", "b/x", "b/y")]
    ended = json.loads(make_manifest(config_of(), folder, "Runner", "now", "later", account, shards))
    assert ended["finished"] == "later" and ended["clips"] == {"a": 2, "b": 4}
    assert ended["root"] == root_of(shards)
    assert ended["audio"] == {"train": {"frames": 3, "seconds": 2.5}}
    assert ended["account"]["written"] == {"train": 1}
    (earlier,) = ended["history"]
    assert earlier["started"] == "then" and "history" not in earlier and "clips" not in earlier
    assert ended["settings_sha256"] == begun["settings_sha256"]


def test_options_are_shown_without_secrets():
    given = {"weights": "https://u:p@h/w?sig=s", "beam_flags": ["--s3_secret_access_key=k"], "split": "x"}
    shown = {"weights": "https://***@h/w?sig=***", "beam_flags": ["--s3_secret_access_key=***"], "split": "x"}
    assert shown_options(given) == shown
    assert _shown_run({"options": given, "assets": None, "n": 1}) == {
        "options": shown,
        "assets": None,
        "n": 1,
    }
    assert _shown_run({"assets": {"path": "https://u:p@h/w"}}) == {"assets": {"path": "https://***@h/w"}}
    assert _shown_run(5) == 5


def test_a_manifest_has_no_secret():
    flags = ["--s3_secret_access_key=very-secret-word", "--input=https://user:very-secret-word@host/*"]
    earlier = {"settings": {}, "options": {"beam_flags": flags[:1]}}
    folder = FeatureFolder("b", (), (), True, earlier | {"history": [earlier]})
    text = make_manifest(config_of(*flags), folder, "Runner", "then")
    assert "very-secret-word" not in text and text.count("--s3_secret_access_key=***") == 3
    assert len(json.loads(text)["history"]) == 2


def test_versions_are_of_packages_that_are_installed():
    versions = package_versions()
    assert {"python", "platform", "numpy", "tensorflow", "libsndfile"} <= versions.keys()
    assert all(isinstance(version, str) for version in versions.values())


def test_each_split_has_its_own_amount_of_audio():
    counts = [["train", "written", 1], ["train", "frames", 3], ["train", "audio_ms", 2500]]
    counts += [["eval", "written", 1], ["eval", "frames", 1], ["eval", "audio_ms", 960]]
    account = Account.from_json({"counts": counts, "lost": []})
    folder = FeatureFolder("b", (), (), False, None)
    manifest = json.loads(make_manifest(config_of(), folder, "Runner", "then", "later", account, []))
    expected = {"eval": {"frames": 1, "seconds": 0.96}, "train": {"frames": 3, "seconds": 2.5}}
    assert manifest["audio"] == expected


def test_a_manifest_has_a_line_per_value_and_the_hash_of_its_settings():
    folder = FeatureFolder("b", (), (), False, None)
    configs = config_of(), config_of("--sharding=hash:2")
    texts = [make_manifest(config, folder, "Runner", "then") for config in configs]
    first, second = map(json.loads, texts)
    assert texts[0].startswith('{\n  "started": "then",\n  "finished": null,\n') and texts[0].endswith("}\n")
    for manifest in (first, second):
        settings = json.dumps(manifest["settings"], sort_keys=True).encode()
        assert manifest["settings_sha256"] == hashlib.sha256(settings).hexdigest()
    assert first["settings_sha256"] != second["settings_sha256"]


@pytest.mark.parametrize("flags", ["text", [5], None])
def test_flags_of_an_odd_type_in_an_old_manifest_stay_as_they_are(flags):
    assert shown_options({"beam_flags": flags}) == {"beam_flags": flags}
