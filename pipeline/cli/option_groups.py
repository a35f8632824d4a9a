"""The options of `pipeline.run`, and the options that several commands share."""

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
# These options print something and exit.
PRINT_CONFIG, PRINT_COMPLETION = "--print_config", "--print_completion"


def add_asset_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command that embeds: the sources of weights and PCA parameters."""
    group = parser.add_argument_group("model")
    add_weights_options(group)
    group.add_argument(
        "--pca_params",
        metavar="PATH",
        type=plain_path,
        help=".npz file with pca_eigen_vectors and pca_means, such as the released file or the output of "
        "pipeline.fit_pca; or 'none' (default: the released file)",
    )


def add_weights_options(parser: argparse._ActionsContainer) -> None:
    """Adds the options for the source of the weights."""
    parser.add_argument(
        "--weights",
        metavar="PATH",
        type=plain_path,
        help="VGGish checkpoint, TensorFlow V1 or V2 or Keras .weights.h5: a path, gs:// or https:// "
        "(for a remote V2 checkpoint, give its .index file); or random:SEED (default: the released "
        "checkpoint)",
    )
    add_assets_dir_option(parser)


def add_assets_dir_option(parser: argparse._ActionsContainer) -> None:
    """Adds the option for a folder of released files."""
    parser.add_argument(
        "--assets_dir",
        metavar="DIR",
        type=plain_path,
        help="folder to search first for released files, by their released names; the environment variable "
        f"{ASSETS_DIR_VARIABLE} does the same (default: the user cache)",
    )


def add_input_option(parser: argparse._ActionsContainer, what: str, note: str) -> None:
    """Adds the option for the input files."""
    parser.add_argument(
        "--input",
        metavar="GLOB",
        type=plain_path,
        action="extend",
        nargs="+",
        help=f"{what}, on any filesystem that Beam supports; ** also matches files in subfolders; repeatable "
        f"({note})",
    )


def add_segment_options(
    parser: argparse._ActionsContainer,
    segments: str = "AudioSet segments CSV: clips, their split, times and labels; repeatable (default: one "
    "clip per file)",
    labels: str = "for --segments (default: the released file)",
) -> None:
    """Adds the options for segments CSVs and the class labels that they use."""
    parser.add_argument("--segments", metavar="[SPLIT=]CSV", action="append", help=segments)
    parser.add_argument(
        "--class_labels", metavar="CSV", type=plain_path, help=f"class_labels_indices.csv, {labels}"
    )


def add_id_pattern_option(parser: argparse._ActionsContainer) -> None:
    """Adds the option for ids in other file names."""
    parser.add_argument(
        "--id_pattern",
        metavar="REGEX",
        help="pattern to search in each path if file names have another form; its group 'id' is the clip's "
        "id, and its optional group 'start' is the start in seconds of a file that is already cut to its "
        "segment",
    )


def add_json_option(parser: argparse._ActionsContainer, note: str = "") -> None:
    """Adds the option for output as JSON."""
    parser.add_argument("--json", action="store_true", help=f"print the result as one JSON object{note}")


def add_postprocess_option(parser: argparse._ActionsContainer) -> None:
    """Adds the option for the postprocessing of embeddings."""
    parser.add_argument(
        "--postprocess",
        choices=(QUANTIZED, RAW),
        default=QUANTIZED,
        help="quantized: 128 bytes per frame, as in the release; raw: float32 embeddings (default: "
        "%(default)s)",
    )


def add_precision_option(parser: argparse._ActionsContainer) -> None:
    """Adds the option for the data type of the network's computation."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=FLOAT32,
        help="data type that the network computes in; the types other than float32 are faster and change "
        "some output bytes (default: %(default)s)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `pipeline.run`."""
    _add_input_options(parser.add_argument_group("input"))
    _add_clip_options(parser.add_argument_group("clips (default: one clip per file, with the file's name)"))
    _add_output_options(parser.add_argument_group("output"))
    add_asset_options(parser)
    _add_feature_options(parser.add_argument_group("features"))
    _add_execution_options(parser.add_argument_group("run"))


def _add_input_options(group: argparse._ActionsContainer) -> None:
    add_input_option(group, "audio files or audio shards", "this or --input_rejects is required")
    group.add_argument(
        "--input_rejects",
        metavar="GLOB",
        type=plain_path,
        action="extend",
        nargs="+",
        help="lists of rejected clips, such as DIR/_run/rejected-*.jsonl: process only these clips again",
    )
    group.add_argument(
        "--input_format",
        choices=(AUTO, AUDIO, "tfrecord", "tar", "parquet"),
        default=AUTO,
        help="format of the input files (default: %(default)s, which decides for each file by its name and "
        "first bytes)",
    )
    group.add_argument(
        "--columns",
        metavar="FIELD=NAME,...",
        default="",
        help=f"names of the fields in audio shards; the fields are {', '.join(FIELDS)} (default: the same "
        "names)",
    )


def _add_clip_options(group: argparse._ActionsContainer) -> None:
    add_segment_options(group)
    group.add_argument(
        "--segment_seconds",
        metavar="S",
        type=float,
        help="cut recordings without times into consecutive clips of S seconds (default: one clip per "
        "recording)",
    )
    group.add_argument(
        "--split",
        default="train",
        help="split of clips that are not in a segments CSV (default: %(default)s)",
    )
    add_id_pattern_option(group)


def _add_output_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--output",
        metavar="DIR",
        type=plain_path,
        help="folder for the features, on any filesystem that Beam supports; the run skips clips that "
        "already have features there, made with the same settings (required)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="delete the existing features and compute all again"
    )
    group.add_argument(
        "--sharding",
        metavar="RULE",
        default=AUDIOSET,
        help="audioset: one shard per first two characters of the ids; hash:N: N shards per split "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--output_schema",
        choices=tuple(SCHEMAS),
        default=AUDIOSET_SCHEMA.name,
        help=f"keys of the records: the AudioSet release's keys, or {YOUTUBE8M_SCHEMA.video_id!r} and "
        f"{YOUTUBE8M_SCHEMA.frames!r}, which trainers of YouTube-8M read (default: %(default)s)",
    )
    group.add_argument(
        "--max_reject_fraction",
        metavar="X",
        type=float,
        default=0.05,
        help="exit with status 4 if a larger share of the clips is rejected (default: %(default)s)",
    )


def _add_feature_options(group: argparse._ActionsContainer) -> None:
    add_postprocess_option(group)
    group.add_argument(
        "--example_hop_seconds",
        metavar="S",
        type=float,
        default=0.96,
        help="time from the start of one frame to the start of the next, in seconds (default: %(default)s, "
        "as in the release)",
    )
    group.add_argument(
        "--batch_size",
        metavar="N",
        type=int,
        help="examples per batch (default: 32; 64 in 16-bit precision, which needs the same memory)",
    )
    add_precision_option(group)
    group.add_argument(
        "--resampler",
        choices=(RESAMPY, SOXR),
        default=RESAMPY,
        help="resampy: the filter of the reference implementation; soxr: a different, faster filter, which "
        "needs the extra [soxr] (default: %(default)s)",
    )
    group.add_argument(
        "--frontend",
        choices=(CPU, ACCELERATOR),
        default=CPU,
        help="where resampling, log-mel and quantization run; accelerator: in one graph with the network, "
        "which changes about one byte in several thousand by 1 (default: %(default)s)",
    )
    group.add_argument(
        "--inference_hint",
        metavar="NAME=VALUE",
        action="append",
        help="Beam resource hint for the inference step only, such as min_ram=16GB; the examples are then "
        "shuffled to the machines that match it; repeatable (default: no hint)",
    )


def _add_execution_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--config",
        metavar="YAML",
        type=plain_path,
        help="file with any of these options; the command line overrides it (see configs/)",
    )
    group.add_argument(
        PRINT_CONFIG,
        action="store_true",
        help="print the values of all options, and where each comes from, as such a YAML file, and exit",
    )
    group.add_argument(
        "--plan",
        action="store_true",
        help="show what the run would do and estimate how long it would take; write nothing",
    )
    add_json_option(group)
    group.add_argument("--quiet", action="store_true", help="do not show progress")
    group.add_argument("--verbose", action="store_true", help="show all messages of Beam and TensorFlow")
    group.add_argument(
        PRINT_COMPLETION,
        choices=("bash", "zsh", "tcsh"),
        help="print a shell completion script for the command audioset-beam, and exit",
    )
