"""The options of `pipeline.run`, and the options that several commands share.

Each command has a table of its options: usage -> text for `--help`. An option has the same type and choices
in all commands, so these and the defaults are in one table here.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from transforms.audio.paddings import REPEAT, ZEROS
from transforms.audio.resamplers import RESAMPY, SOXR
from transforms.audio_shards.formats import AUDIO, AUTO, SHARD_FORMATS
from transforms.audio_shards.items import FIELDS
from transforms.audioset.layout import AUDIOSET
from transforms.audioset.schemas import AUDIOSET_SCHEMA, SCHEMAS, YOUTUBE8M_SCHEMA
from transforms.homes import ASSETS_DIR_VARIABLE
from transforms.storage.globs import plain_path
from transforms.vggish.precision import FLOAT32, PRECISIONS

QUANTIZED, RAW = "quantized", "raw"
NO_PCA = "none"
CPU, ACCELERATOR = "cpu", "accelerator"
PRINT_CONFIG = "--print_config"

# Usage -> text of the options that several commands share.
ID_PATTERN = {
    "--id_pattern REGEX": "pattern to search in each path if file names have another form; its group 'id' is "
    "the clip's id, and its optional group 'start' is the start in seconds of a file that is already cut to "
    "its segment"
}
ASSETS_DIR = {
    "--assets_dir DIR": "folder to search first for released files, by their released names; the environment "
    f"variable {ASSETS_DIR_VARIABLE} does the same (default: the user cache)"
}
WEIGHTS = {
    "--weights PATH": "VGGish checkpoint, TensorFlow V1 or V2 or Keras .weights.h5: a path, gs:// or "
    "https:// (for a remote V2 checkpoint, give its .index file); or random:SEED (default: the released "
    "checkpoint)",
    **ASSETS_DIR,
}
_PCA_PARAMS = {
    "--pca_params PATH": ".npz file with pca_eigen_vectors and pca_means, such as the released file or that "
    "of pipeline.fit_pca; or 'none' (default: the released file)"
}
MODEL = WEIGHTS | _PCA_PARAMS
POSTPROCESS = {
    "--postprocess": "quantized: 128 bytes per frame, as in the release; raw: float32 embeddings (default: "
    "%(default)s)"
}
PRECISION = {
    "--precision": "data type that the network computes in; the types other than float32 are faster and "
    "change some output bytes (default: %(default)s)"
}
PAD_SHORT = {
    "--pad_short": "lengthen clips below one frame (0.975 s) to one, by silence or by repetition (default: "
    "reject them)"
}
JSON = {"--json": "print the result as one JSON object"}

_RUN_GROUPS = {
    "input": {
        "--input GLOB": "audio files or audio shards, on any filesystem that Beam supports; ** also matches "
        "files in subfolders; repeatable (this or --input_rejects is required)",
        "--input_rejects GLOB": "lists of rejected clips, such as DIR/_run/rejected-*.jsonl: process only "
        "these clips again",
        "--input_format": "format of the input files (default: %(default)s, which decides for each file by "
        "its name and first bytes)",
        "--columns FIELD=NAME,...": "names of the fields in audio shards; the fields are "
        f"{', '.join(FIELDS)} (default: the same names)",
    },
    "clips (default: one clip per file, with the file's name)": {
        "--segments [SPLIT=]CSV": "AudioSet segments CSV: clips, their split, times and labels; repeatable "
        "(default: one clip per file)",
        "--class_labels CSV": "class_labels_indices.csv, for --segments (default: the released file)",
        "--segment_seconds S": "cut recordings without times into consecutive clips of S seconds (default: "
        "one clip per recording)",
        "--split SPLIT": "split of clips that are not in a segments CSV (default: %(default)s)",
        **ID_PATTERN,
    },
    "output": {
        "--output DIR": "folder for the features, on any filesystem that Beam supports; the run skips clips "
        "that already have features there, made with the same settings (required)",
        "--overwrite": "delete the existing features and compute all again",
        "--sharding RULE": "audioset: one shard per first two characters of the ids; hash:N: N shards per "
        "split (default: %(default)s)",
        "--output_schema": "keys of the records: the AudioSet release's keys, or "
        f"{YOUTUBE8M_SCHEMA.video_id!r} and {YOUTUBE8M_SCHEMA.frames!r}, which trainers of YouTube-8M read "
        "(default: %(default)s)",
        "--report_without_audio": "leave the sound of example clips out of the report",
        "--max_reject_fraction X": "exit with status 4 if a larger share of the clips is rejected (default: "
        "%(default)s)",
    },
    "model": MODEL,
    "features": {
        **POSTPROCESS,
        "--example_hop_seconds S": "time from the start of one frame to the start of the next, in seconds "
        "(default: %(default)s, as in the release)",
        **PAD_SHORT,
        "--batch_size N": "examples per batch (default: 32; 64 in 16-bit precision, which needs the same "
        "memory)",
        **PRECISION,
        "--resampler": "resampy: the filter of the reference implementation; soxr: another, faster one, of "
        "the extra [soxr] (default: %(default)s)",
        "--frontend": "where resampling, log-mel and quantization run; accelerator: in one graph with the "
        "network, which changes about one byte in several thousand by 1 (default: %(default)s)",
        "--inference_hint NAME=VALUE": "Beam resource hint for the inference step only, such as "
        "min_ram=16GB; the examples are then shuffled to the machines that match it; repeatable (default: no "
        "hint)",
    },
    "run": {
        "--config YAML": "file with any of these options; the command line overrides it (see configs/)",
        PRINT_CONFIG: "print the values of all options, and where each comes from, as such a YAML file, and "
        "exit",
        "--plan": "show what the run would do and estimate how long it would take; write nothing",
        **JSON,
        "--quiet": "do not show progress",
        "--verbose": "show all messages of Beam and TensorFlow",
    },
}

_FLAG: dict[str, Any] = {"action": "store_true"}
_PATH: dict[str, Any] = {"type": plain_path}
_FILE: dict[str, Any] = {**_PATH, "nargs": "?"}
_GLOBS: dict[str, Any] = {**_PATH, "action": "extend", "nargs": "+"}
# Name -> arguments of `add_argument` besides name, metavar and help.
_DEFINITIONS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("--against", "--assets_dir", "--class_labels", "--compare", "--config", "--features"), _PATH
    ),
    **dict.fromkeys(("--output", "--pca_params", "--weights"), _PATH),
    **dict.fromkeys(("--json", "--manifest", "--overwrite", "--plan", PRINT_CONFIG), _FLAG),
    **dict.fromkeys(("--quiet", "--report_without_audio", "--strict", "--verbose"), _FLAG),
    **dict.fromkeys(("audio", "output"), _FILE),
    "--batch_size": {"type": int},
    "--columns": {"default": ""},
    "--example_hop_seconds": {"type": float, "default": 0.96},
    "--format": {"choices": SHARD_FORMATS},
    "--frontend": {"choices": (CPU, ACCELERATOR), "default": CPU},
    "--id_pattern": {},
    "--inference_hint": {"action": "append"},
    "--input": _GLOBS,
    "--input_format": {"choices": (AUTO, AUDIO, *SHARD_FORMATS), "default": AUTO},
    "--input_rejects": _GLOBS,
    "--max_reject_fraction": {"type": float, "default": 0.05},
    "--output_schema": {"choices": tuple(SCHEMAS), "default": AUDIOSET_SCHEMA.name},
    "--pad_short": {"choices": (ZEROS, REPEAT)},
    "--postprocess": {"choices": (QUANTIZED, RAW), "default": QUANTIZED},
    "--precision": {"choices": PRECISIONS, "default": FLOAT32},
    "--quantization_quantile": {"type": float},
    "--resampler": {"choices": (RESAMPY, SOXR), "default": RESAMPY},
    "--root": {"type": str.lower},
    "--segment_seconds": {"type": float},
    "--segments": {"action": "append"},
    "--shard_bytes": {"default": "256MB"},
    "--sharding": {"default": AUDIOSET},
    "--split": {"default": "train"},
}


def add_options(group: argparse._ActionsContainer, texts: Mapping[str, str], **arguments: Any) -> None:
    """Adds options to a parser or to a group of its options.

    Args:
      texts: usage -> text for `--help`; the usage is the name, followed by the metavar if there is one.
      arguments: more arguments of `add_argument`, for all of these options.
    """
    for usage, text in texts.items():
        name, has_metavar, metavar = usage.partition(" ")
        more = {"metavar": metavar, **arguments} if has_metavar else arguments
        group.add_argument(name, help=text, **_DEFINITIONS[name], **more)


def add_asset_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command that embeds: the sources of weights and PCA parameters."""
    add_options(parser.add_argument_group("model"), MODEL)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `pipeline.run`."""
    for title, texts in _RUN_GROUPS.items():
        add_options(parser.add_argument_group(title), texts)
