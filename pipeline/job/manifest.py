"""The manifest of a run: its settings, options, assets and versions, and its account."""

import dataclasses
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.cli.flags import shown_flags
from pipeline.job.config import Config
from pipeline.output.account import Account
from pipeline.output.feature_folder import FeatureFolder, Settings
from pipeline.output.shard_list import root_of
from transforms.audio.decoder_versions import decoder_settings, decoder_versions
from transforms.clips import sha256_of
from transforms.features.open_shard import ShardFile
from transforms.printable import json_text
from transforms.redact import shown
from transforms.write_account import AUDIO_MS, FRAMES

DISTRIBUTION = "audioset-beam"
_LIBRARIES = ("apache-beam", "keras", "tensorflow", "jax", "torch", "numpy", "resampy", "soundfile", "av")
# Packages whose version can change a feature.
PACKAGES = (DISTRIBUTION, *_LIBRARIES)


def settings_of(config: Config) -> Settings:
    """Returns the settings that determine the bytes of features, or their shards: one set per folder."""
    assets, options = config.assets, config.options
    return {
        "weights": assets.weights.sha256 or assets.weights.path,
        "pca_params": assets.pca_params and assets.pca_params.sha256,
        "quantization_range": list(dataclasses.astuple(assets.quantization)),
        "precision": options.precision,
        "resampler": options.resampler,
        "frontend": options.frontend,
        "postprocess": options.postprocess,
        "output_schema": options.output_schema,
        "example_hop_seconds": options.example_hop_seconds,
        "segment_seconds": options.segment_seconds,
        "pad_short": options.pad_short,
        "sharding": options.sharding,
        "backend": _backend(),
        "decoders": decoder_settings(),
    }


def _backend() -> str:
    from transforms.frameworks import keras  # takes seconds, and make_shards does not need it

    return str(keras.backend.backend())


def make_manifest(
    config: Config,
    before: FeatureFolder,
    runner: str,
    started: str,
    finished: str | None = None,
    account: Account | None = None,
    shards: Sequence[ShardFile] | None = None,
) -> str:
    """Returns the manifest as JSON text; at the start of a run, `finished`, `account` and `shards` are None.

    Args:
      before: the folder as it was before the run.
      runner: the runner that does the run, as `describe_runner` returns it.
      started, finished: times in ISO 8601.
      shards: all shards of the folder after the run, sorted by path.
    """
    settings = settings_of(config)
    manifest = {
        "started": started,
        "finished": finished,
        "runner": runner,
        "settings": settings,
        "settings_sha256": sha256_of(json.dumps(settings, sort_keys=True).encode()),
        "options": shown_options(dataclasses.asdict(config.options)),
        "assets": {
            name: shown(dataclasses.asdict(asset)) if (asset := getattr(config.assets, name)) else None
            for name in ("weights", "pca_params", "class_labels")
        },
        "versions": package_versions(),
        "account": account and account.to_json(),
        "audio": account
        and {
            split: {"frames": account.total(FRAMES, split), "seconds": account.total(AUDIO_MS, split) / 1000}
            for split in account.splits
        },
        "clips": None if shards is None else _clips_by_split(shards),
        "root": None if shards is None else root_of(shards),
        "history": [_shown_run(run) for run in before.history],
    }
    return json_text(manifest, 2) + "\n"


def _clips_by_split(shards: Iterable[ShardFile]) -> dict[str, int]:
    clips = Counter[str]()
    for shard in shards:
        clips[shard.path.split("/")[0]] += shard.records
    return dict(sorted(clips.items()))


def shown_options(options: dict[str, Any]) -> dict[str, Any]:
    """Returns a command's options, including `beam_flags`, without secrets."""
    beam_flags = options.get("beam_flags")
    others = {name: shown(value) for name, value in options.items()}
    if isinstance(beam_flags, list | tuple) and all(isinstance(flag, str) for flag in beam_flags):
        others["beam_flags"] = shown_flags(beam_flags)
    return others


def _shown_run(run: dict[str, Any]) -> dict[str, Any]:
    """Returns a run of the history without secrets, which manifests of earlier versions may contain."""
    if not isinstance(run, dict):
        return run
    options, assets = run.get("options"), run.get("assets")
    if isinstance(options, dict):
        run = run | {"options": shown_options(options)}
    return run | {"assets": shown(assets)} if isinstance(assets, dict) else run


def package_versions() -> dict[str, str]:
    """Returns the versions of Python, the platform, and the libraries that features depend on."""
    versions = {"python": platform.python_version(), "platform": platform.platform(), **decoder_versions()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
