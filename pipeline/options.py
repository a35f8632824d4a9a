"""Flags and YAML to what was asked; with config.py the only place that knows a flag's name."""

import argparse
import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import apache_beam as beam
import yaml
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    _BeamArgumentParser,
)

from pipeline.assets import ASSETS_DIR_VARIABLE
from pipeline.processes import share_cores
from transforms.ahead import num_cores
from transforms.audio.resample import RESAMPY, SOXR, Resampler
from transforms.audioset.layout import AUDIOSET
from transforms.errors import SettingError
from transforms.files import FILE_ERRORS, open_file
from transforms.filesystems import NO_CREDENTIALS, has_google_credentials
from transforms.read_clips import AUDIO, AUTO
from transforms.shards.items import FIELDS
from transforms.vggish.precision import FLOAT32, PRECISIONS

QUANTIZED, RAW = "quantized", "raw"
NO_PCA = "none"
CPU, ACCELERATOR = "cpu", "accelerator"

AddOptions = Callable[[argparse.ArgumentParser], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """The command as given: own options by name, as `--help` describes them, and Beam's as flags."""

    input: tuple[str, ...]
    input_rejects: tuple[str, ...]
    input_format: str
    columns: str
    output: str
    overwrite: bool
    max_reject_fraction: float
    sharding: str
    segment_seconds: float | None
    segments: tuple[str, ...]
    class_labels: str | None
    split: str
    id_pattern: str | None
    weights: str | None
    pca_params: str | None
    assets_dir: str | None
    postprocess: str
    example_hop_seconds: float
    batch_size: int | None
    precision: str
    resampler: Resampler
    frontend: str
    inference_hint: tuple[str, ...]
    beam_flags: tuple[str, ...]


class OneLineParser(_BeamArgumentParser):
    """An argument parser whose errors are one line, for `exit_on_setting_error`."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; see --help")


def add_asset_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command that embeds: where weights and PCA parameters come from."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--weights",
        metavar="PATH",
        help="VGGish checkpoint: TensorFlow V1 or V2, or Keras .weights.h5; a path, gs:// or https:// "
        "(of a remote V2 checkpoint its .index); or random:SEED (default: the released one)",
    )
    group.add_argument(
        "--pca_params",
        metavar="PATH",
        help=".npz with pca_eigen_vectors and pca_means, or 'none' (default: the released one)",
    )
    group.add_argument(
        "--assets_dir",
        metavar="DIR",
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


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    corpus = parser.add_argument_group("corpus")
    corpus.add_argument(
        "--input",
        metavar="GLOB",
        action="extend",
        nargs="+",
        help="audio files or shards, on any filesystem that Beam knows; ** goes into folders; repeatable "
        "(this or --input_rejects is required)",
    )
    corpus.add_argument(
        "--input_rejects",
        metavar="GLOB",
        action="extend",
        nargs="+",
        help="lists of rejected clips, as DIR/_run/rejected-*.jsonl: try just those again",
    )
    corpus.add_argument(
        "--input_format",
        choices=(AUTO, AUDIO, "tfrecord", "tar", "parquet"),
        default=AUTO,
        help="form of the input files (default: %(default)s, by name and first bytes, file by file)",
    )
    corpus.add_argument(
        "--columns",
        metavar="FIELD=NAME,...",
        default="",
        help=f"names of the fields in shards; fields: {', '.join(FIELDS)} (default: these)",
    )
    corpus.add_argument(
        "--output",
        metavar="DIR",
        help="folder or gs:// path for the features; clips that are "
        "there, made with the same settings, are not computed again (required)",
    )
    corpus.add_argument(
        "--overwrite", action="store_true", help="delete the features that are there, and start anew"
    )
    corpus.add_argument(
        "--max_reject_fraction",
        metavar="X",
        type=float,
        default=0.05,
        help="exit with status 4 if more of the clips than this are rejected (default: %(default)s)",
    )
    corpus.add_argument(
        "--sharding",
        metavar="RULE",
        default=AUDIOSET,
        help="audioset: a file for each first two characters of an id; hash:N: N files a split "
        "(default: %(default)s)",
    )
    corpus.add_argument(
        "--segment_seconds",
        metavar="S",
        type=float,
        help="cut recordings without times into consecutive clips of S seconds (default: one clip each)",
    )
    corpus.add_argument(
        "--segments",
        metavar="[SPLIT=]CSV",
        action="append",
        help="AudioSet segments CSV: clips, their split, times and labels; released names tell their "
        "split; repeatable (default: every input file is one clip)",
    )
    corpus.add_argument(
        "--class_labels",
        metavar="CSV",
        help="class_labels_indices.csv, for --segments (default: the released one)",
    )
    corpus.add_argument(
        "--split",
        default="train",
        help="split of clips that no segments CSV names (default: %(default)s)",
    )
    corpus.add_argument(
        "--id_pattern",
        metavar="REGEX",
        help="searched in each path for other file names; group 'id', and 'start' (seconds) for files "
        "already cut to their segment",
    )
    add_asset_options(parser)
    features = parser.add_argument_group("features")
    add_postprocess_option(features)
    features.add_argument(
        "--example_hop_seconds",
        metavar="S",
        type=float,
        default=0.96,
        help="time from one frame to the next (default: %(default)s, the release's)",
    )
    features.add_argument(
        "--batch_size",
        metavar="N",
        type=int,
        help="examples a call of the network (default: 32, or 64 in 16 bits, in the same memory)",
    )
    add_precision_option(features)
    features.add_argument(
        "--resampler",
        choices=(RESAMPY, SOXR),
        default=RESAMPY,
        help="resampy: the reference's filter; soxr: libsoxr's HQ, faster and another filter, with the extra "
        "[soxr] (default: %(default)s)",
    )
    features.add_argument(
        "--frontend",
        choices=(CPU, ACCELERATOR),
        default=CPU,
        help="where resampling, log-mel and quantization run; accelerator: in one graph with the network, in "
        "float32, which changes a byte in some thousands by 1 (default: %(default)s)",
    )
    features.add_argument(
        "--inference_hint",
        metavar="NAME=VALUE",
        action="append",
        help="what only machines that run the model must have: a Beam resource hint, as min_ram=16GB; what "
        "the model takes is then shuffled to them; repeatable (default: all machines are alike)",
    )
    parser.add_argument(
        "--config",
        metavar="YAML",
        help="a file with any of these options; flags win (see configs/)",
    )


def parse_options(argv: Sequence[str]) -> Options:
    """Reads a command line of `pipeline.run`, and the YAML file that it may name.

    Raises:
      SettingError: an option that neither this program nor Beam has, a value of the wrong form, or
        one of the required options is missing.
    """
    own = OneLineParser(
        prog="python -m pipeline.run",
        description="Embeds audio files with VGGish and writes features laid out as the AudioSet release.",
        epilog="Beam's options work too: --runner, --direct_num_workers, --temp_location and all others.",
        allow_abbrev=False,
    )
    _add_own_options(own)
    config, _ = own.parse_known_args(argv)
    flags = [*_config_flags(config.config, argv), *argv]
    check_flags(flags, _add_own_options)
    values, beam_flags = own.parse_known_args(flags)
    if not values.output:
        raise SettingError("--output is required; see --help")
    if bool(values.input) == bool(values.input_rejects):
        raise SettingError("give --input or --input_rejects, one of the two; see --help")
    del values.config
    values.input = tuple(values.input or ())
    values.input_rejects = tuple(values.input_rejects or ())
    values.segments = tuple(values.segments or ())
    values.inference_hint = tuple(values.inference_hint or ())
    return Options(**vars(values), beam_flags=tuple(beam_flags))


def make_pipeline(beam_flags: Sequence[str]) -> beam.Pipeline:
    """A pipeline with Beam's options; worker processes that it starts on this machine share its cores.

    Raises:
      SettingError: Beam refuses them.
    """
    options = PipelineOptions(beam_flags)
    # Workers import the package; a pickled __main__ would only make jobs larger.
    options.view_as(SetupOptions).save_main_session = False
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_processing":
        share_cores(direct.direct_num_workers or num_cores())
    runner = options.view_as(StandardOptions).runner or ""
    is_sent = "dataflow" in runner.lower() and not options.view_as(TestOptions).dry_run
    if is_sent and not has_google_credentials():  # Beam would look for them for a minute
        raise SettingError(f"--runner={runner}: {NO_CREDENTIALS}")
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:  # Beam's own checks of its options: an unknown runner, no project
        raise SettingError(f"Beam refuses its options: {error}") from error


def _all_options(add_own: AddOptions) -> OneLineParser:
    parser = OneLineParser(allow_abbrev=False, add_help=False)
    add_own(parser)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)  # the hook that Beam documents for its subclasses
    return parser


def check_flags(flags: Sequence[str], add_own: AddOptions) -> None:
    """Checks that each flag is a command's own or Beam's.

    Beam drops what it does not know with a warning, and a mistyped option would go unseen.

    Args:
      flags: the command line.
      add_own: adds the command's options to a parser.

    Raises:
      SettingError: one is neither.
    """
    parser = _all_options(add_own)
    _, unknown = parser.parse_known_args(flags)
    if unknown:
        name, dashes = unknown[0].split("=")[0], "--"
        raise SettingError(f"unknown option {name}{_nearest(name, parser, dashes)}; see --help")


def _nearest(name: str, parser: argparse.ArgumentParser, dashes: str) -> str:
    known = [option.removeprefix("--") for option in parser._option_string_actions]
    near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
    return f" (did you mean {dashes}{near[0]}?)" if near else ""


def _config_flags(path: str | None, argv: Sequence[str]) -> list[str]:
    """The YAML file's options as flags, without those that the command line gives."""
    if path is None:
        return []
    parser = _all_options(_add_own_options)
    given = {flag.split("=")[0].removeprefix("--") for flag in argv if flag.startswith("--")}
    flags = []
    for key, value in _read_yaml(path).items():
        action = parser._option_string_actions.get(f"--{key}")
        if action is None or key == "config":
            raise SettingError(f"config {path}: unknown option {key!r}{_nearest(str(key), parser, '')}")
        if key in given or value is None or value is False:
            continue
        if isinstance(value, Mapping) or (isinstance(value, bool) and action.nargs != 0):
            raise SettingError(f"config {path}: {key} is {value!r}; give a value as on the command line")
        if action.nargs == 0:
            flags.append(f"--{key}")
        else:
            flags += [f"--{key}={item}" for item in (value if isinstance(value, list) else [value])]
    return flags


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        with open_file(path) as file:
            values = yaml.safe_load(file.read())
    except (*FILE_ERRORS, yaml.YAMLError, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split())
        raise SettingError(f"config {path}: cannot be read ({cause}); check the path and the YAML") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingError(f"config {path}: holds no options; write one a line, as 'batch_size: 64'")
    return values
