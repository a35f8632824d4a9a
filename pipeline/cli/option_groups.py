"""The options of `pipeline.run`, and those that several commands share, as a person reads them."""

import argparse

from transforms.audio.dsp.resample import RESAMPY, SOXR
from transforms.audio_shards.items import FIELDS
from transforms.audioset.example import AUDIOSET_SCHEMA, SCHEMAS, YOUTUBE8M_SCHEMA
from transforms.audioset.layout import AUDIOSET
from transforms.read_clips import AUDIO, AUTO
from transforms.storage.globs import plain_path
from transforms.storage.shared_files import ASSETS_DIR_VARIABLE
from transforms.vggish.precision import FLOAT32, PRECISIONS

QUANTIZED, RAW = "quantized", "raw"
NO_PCA = "none"
CPU, ACCELERATOR = "cpu", "accelerator"
# What prints something, and does nothing else.
PRINT_CONFIG, PRINT_COMPLETION = "--print_config", "--print_completion"


def add_asset_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command that embeds: where weights and PCA parameters come from."""
    group = parser.add_argument_group("model")
    add_weights_options(group)
    group.add_argument(
        "--pca_params",
        metavar="PATH",
        type=plain_path,
        help=".npz with pca_eigen_vectors and pca_means, as released or of pipeline.fit_pca; or 'none' "
        "(default: the released one)",
    )


def add_weights_options(parser: argparse._ActionsContainer) -> None:
    """Adds the options of where weights come from."""
    parser.add_argument(
        "--weights",
        metavar="PATH",
        type=plain_path,
        help="VGGish checkpoint: TensorFlow V1 or V2, or Keras .weights.h5; a path, gs:// or https:// "
        "(of a remote V2 checkpoint its .index); or random:SEED (default: the released one)",
    )
    parser.add_argument(
        "--assets_dir",
        metavar="DIR",
        type=plain_path,
        help="folder looked in first for released files by their released names; also the environment "
        f"variable {ASSETS_DIR_VARIABLE} (default: the user cache)",
    )


def add_postprocess_option(parser: argparse._ActionsContainer) -> None:
    """Adds the option of what becomes of an embedding."""
    parser.add_argument(
        "--postprocess",
        choices=(QUANTIZED, RAW),
        default=QUANTIZED,
        help="quantized: the release's 128 bytes a frame; raw: float32 embeddings (default: %(default)s)",
    )


def add_precision_option(parser: argparse._ActionsContainer) -> None:
    """Adds the option of the numbers that the network computes with."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=FLOAT32,
        help="what the network computes in; others than float32 are faster and change some output bytes "
        "(default: %(default)s)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `pipeline.run`."""
    _add_input_options(parser.add_argument_group("input"))
    _add_clip_options(parser.add_argument_group("clips (default: a file is one, named as the file)"))
    _add_output_options(parser.add_argument_group("output"))
    add_asset_options(parser)
    _add_feature_options(parser.add_argument_group("features"))
    _add_conduct_options(parser.add_argument_group("run"))


def _add_input_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--input",
        metavar="GLOB",
        type=plain_path,
        action="extend",
        nargs="+",
        help="audio files or shards, on any filesystem that Beam knows; ** goes into folders; repeatable "
        "(this or --input_rejects is required)",
    )
    group.add_argument(
        "--input_rejects",
        metavar="GLOB",
        type=plain_path,
        action="extend",
        nargs="+",
        help="lists of rejected clips, as DIR/_run/rejected-*.jsonl: try just those again",
    )
    group.add_argument(
        "--input_format",
        choices=(AUTO, AUDIO, "tfrecord", "tar", "parquet"),
        default=AUTO,
        help="form of the input files (default: %(default)s, by name and first bytes, file by file)",
    )
    group.add_argument(
        "--columns",
        metavar="FIELD=NAME,...",
        default="",
        help=f"names of the fields in shards; fields: {', '.join(FIELDS)} (default: these)",
    )


def _add_clip_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--segments",
        metavar="[SPLIT=]CSV",
        action="append",
        help="AudioSet segments CSV: clips, their split, times and labels; repeatable",
    )
    group.add_argument(
        "--class_labels",
        metavar="CSV",
        type=plain_path,
        help="class_labels_indices.csv, for --segments (default: the released one)",
    )
    group.add_argument(
        "--segment_seconds",
        metavar="S",
        type=float,
        help="cut recordings without times into consecutive clips of S seconds (default: one clip each)",
    )
    group.add_argument(
        "--split",
        default="train",
        help="split of clips that no segments CSV names (default: %(default)s)",
    )
    group.add_argument(
        "--id_pattern",
        metavar="REGEX",
        help="searched in each path for other file names; group 'id', and 'start' (seconds) for files "
        "already cut to their segment",
    )


def _add_output_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--output",
        metavar="DIR",
        type=plain_path,
        help="folder for the features, on any filesystem that Beam knows; clips that are there, made with "
        "the same settings, are not computed again (required)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="delete the features that are there, and start anew"
    )
    group.add_argument(
        "--sharding",
        metavar="RULE",
        default=AUDIOSET,
        help="audioset: a file for each first two characters of an id; hash:N: N files a split "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--output_schema",
        choices=tuple(SCHEMAS),
        default=AUDIOSET_SCHEMA.name,
        help=f"keys of the records: the AudioSet release's, or {YOUTUBE8M_SCHEMA.video_id!r} and "
        f"{YOUTUBE8M_SCHEMA.frames!r}, which trainers of YouTube-8M read (default: %(default)s)",
    )
    group.add_argument(
        "--max_reject_fraction",
        metavar="X",
        type=float,
        default=0.05,
        help="exit with status 4 if more of the clips than this are rejected (default: %(default)s)",
    )


def _add_feature_options(group: argparse._ActionsContainer) -> None:
    add_postprocess_option(group)
    group.add_argument(
        "--example_hop_seconds",
        metavar="S",
        type=float,
        default=0.96,
        help="time from one frame to the next (default: %(default)s, the release's)",
    )
    group.add_argument(
        "--batch_size",
        metavar="N",
        type=int,
        help="examples a call of the network (default: 32, or 64 in 16 bits, in the same memory)",
    )
    add_precision_option(group)
    group.add_argument(
        "--resampler",
        choices=(RESAMPY, SOXR),
        default=RESAMPY,
        help="resampy: the reference's filter; soxr: another one, faster, with the extra [soxr] "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--frontend",
        choices=(CPU, ACCELERATOR),
        default=CPU,
        help="where resampling, log-mel and quantization run; accelerator: in one graph with the network, "
        "which changes a byte in some thousands by 1 (default: %(default)s)",
    )
    group.add_argument(
        "--inference_hint",
        metavar="NAME=VALUE",
        action="append",
        help="what only machines that run the model must have: a Beam resource hint, as min_ram=16GB; what "
        "the model takes is then shuffled to them; repeatable (default: all machines are alike)",
    )


def _add_conduct_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--config",
        metavar="YAML",
        type=plain_path,
        help="a file with any of these options; flags win (see configs/)",
    )
    group.add_argument(
        PRINT_CONFIG,
        action="store_true",
        help="print all options, where each comes from, as such a file; do nothing else",
    )
    group.add_argument(
        "--plan", action="store_true", help="say what there is to do, and how long it may take; write nothing"
    )
    group.add_argument("--json", action="store_true", help="print the result as one JSON object")
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument("--verbose", action="store_true", help="show all that Beam and TensorFlow say")
    group.add_argument(
        PRINT_COMPLETION,
        choices=("bash", "zsh", "tcsh"),
        help="print a completion script of the command audioset-beam for a shell; do nothing else",
    )
