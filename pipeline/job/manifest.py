"""What ran, with what, and where every input went."""

import dataclasses
import importlib.metadata
import json
import platform
from collections import Counter
from typing import Any

import keras

from pipeline.cli.flags import shown_flags
from pipeline.job.config import Config
from pipeline.output.account import Account
from pipeline.output.feature_folder import FeatureFolder, Settings
from transforms.account import (
    AUDIO_MS,
    FRAMES,
)
from transforms.audio.decoder_versions import decoder_settings, decoder_versions
from transforms.clips import sha256_of
from transforms.printable import json_text
from transforms.redact import shown

DISTRIBUTION = "audioset-beam"
# Those whose version can change a feature.
PACKAGES = (
    DISTRIBUTION,
    "apache-beam",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "numpy",
    "resampy",
    "soundfile",
    "av",
)


def settings_of(config: Config) -> Settings:
    """What features in one folder must have in common: all that a byte of them, or its place, depends on."""
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
        "sharding": options.sharding,
        "backend": keras.backend.backend(),
        "decoders": decoder_settings(),
    }


def make_manifest(
    config: Config,
    before: FeatureFolder,
    started: str,
    finished: str | None = None,
    account: Account | None = None,
    clips: Counter[str] | None = None,
) -> str:
    """The manifest's JSON text, at the start of a run and at its end.

    Args:
      config: of the run.
      before: the folder as the run found it.
      started, finished: times in ISO 8601; None if the run is still at work.
      account, clips: of the run and of the folder after it, by split.
    """
    settings = settings_of(config)
    manifest = {
        "started": started,
        "finished": finished,
        "settings": settings,
        "settings_sha256": sha256_of(json.dumps(settings, sort_keys=True).encode()),
        "options": shown_options(dataclasses.asdict(config.options)),
        "assets": {
            name: shown(dataclasses.asdict(asset)) if asset else None
            for name, asset in (
                ("weights", config.assets.weights),
                ("pca_params", config.assets.pca_params),
                ("class_labels", config.assets.class_labels),
            )
        },
        "versions": package_versions(),
        "account": account and account.to_json(),
        "audio": account
        and {
            split: {"frames": account.total(FRAMES, split), "seconds": account.total(AUDIO_MS, split) / 1000}
            for split in account.splits
        },
        "clips": clips and dict(sorted(clips.items())),
        "history": [_shown_run(run) for run in before.history],
    }
    return json_text(manifest, 2) + "\n"


def shown_options(options: dict[str, Any]) -> dict[str, Any]:
    """A command's options, `beam_flags` among them, as a manifest shows them."""
    beam_flags = options.get("beam_flags")
    others = {name: shown(value) for name, value in options.items()}
    if isinstance(beam_flags, list | tuple) and all(isinstance(flag, str) for flag in beam_flags):
        others["beam_flags"] = shown_flags(beam_flags)
    return others


def _shown_run(run: dict[str, Any]) -> dict[str, Any]:
    """A run of the history: what earlier versions showed of it may have secrets in it."""
    if not isinstance(run, dict):
        return run
    options, assets = run.get("options"), run.get("assets")
    return {
        **run,
        **({"options": shown_options(options)} if isinstance(options, dict) else {}),
        **({"assets": shown(assets)} if isinstance(assets, dict) else {}),
    }


def package_versions() -> dict[str, str]:
    """Versions of Python, of the platform, and of the packages and libraries that features depend on."""
    versions = {"python": platform.python_version(), "platform": platform.platform(), **decoder_versions()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
