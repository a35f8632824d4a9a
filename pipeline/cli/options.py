"""Parses the command line of `pipeline.run` into an `Options` object."""

import argparse
import dataclasses
from collections.abc import Sequence

from pipeline.cli.config_file import config_flags, config_text
from pipeline.cli.flags import check_flags
from pipeline.cli.option_groups import PRINT_CONFIG, add_run_options
from pipeline.cli.parser import OneLineParser, program_of, required
from transforms.audio.paddings import Padding
from transforms.audio.resamplers import Resampler
from transforms.errors import SettingError
from transforms.printable import say

DESCRIPTION = "Embeds audio files with VGGish and writes features in the layout of the AudioSet release."
_NOT_IN_CONFIGS = ("config", "print_config")
_EPILOG = """\
examples:
  %(prog)s --input='/data/clips/**' --output=/data/features --plan
  %(prog)s --input='/data/clips/**' --output=/data/features
  %(prog)s --config=configs/audioset.yaml --input='clips/**' --output=features
  %(prog)s --input_rejects='/data/features/_run/rejected-*' --output=/data/features

Beam's options work too: --runner, --direct_num_workers, --temp_location and all others.
Exit status: 0 success, 1 the run failed, 2 a mistake in the command, 3 clips were lost, 4 too many
clips were rejected, or no clip has features.
All options: docs/options.md
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """The parsed command line: the options that `--help` describes, by name, and Beam's options as flags."""

    input: tuple[str, ...]
    input_rejects: tuple[str, ...]
    input_format: str
    columns: str
    output: str
    overwrite: bool
    report_without_audio: bool
    max_reject_fraction: float
    sharding: str
    output_schema: str
    segment_seconds: float | None
    pad_short: Padding | None
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
    plan: bool
    json: bool
    quiet: bool
    verbose: bool
    beam_flags: tuple[str, ...]


def parse_options(argv: Sequence[str]) -> Options:
    """Parses a command line of `pipeline.run`, and the YAML file that `--config` names.

    Raises:
      SettingError: an option is unknown, has a value of the wrong form, or is required and missing.
    """
    values, beam_flags = _read(argv)
    if values.input and values.input_rejects:
        raise SettingError("give either --input or --input_rejects; see --help")
    given = {"--input": values.input or values.input_rejects, "--output": values.output}
    if missing := [name for name, value in given.items() if not value]:
        raise SettingError(required(missing, "--input='clips/**' --output=features"))
    for name in _NOT_IN_CONFIGS:
        delattr(values, name)
    for name in ("input", "input_rejects", "segments", "inference_hint"):
        setattr(values, name, tuple(getattr(values, name) or ()))
    return Options(**vars(values), beam_flags=tuple(beam_flags))


def print_early(argv: Sequence[str]) -> bool:
    """Prints what --print_config asks for; returns whether it is given.

    Raises:
      SettingError: as in `parse_options`, but required options may be missing.
    """
    if PRINT_CONFIG in argv:
        values, beam_flags = _read(argv)
        own = {name: value for name, value in vars(values).items() if name not in _NOT_IN_CONFIGS}
        say(*config_text(own, beam_flags, values.config, argv).split("\n"))
        return True
    return False


def _read(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    own = make_parser()
    config, _ = own.parse_known_args(argv)
    flags = [*config_flags(config.config, argv, add_run_options), *argv]
    check_flags(flags, add_run_options)
    return own.parse_known_args(flags)


def make_parser() -> OneLineParser:
    """Returns the parser of the options of `pipeline.run`, without Beam's."""
    parser = OneLineParser(
        prog=program_of("pipeline.run"),
        description=DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --input GLOB --output DIR [OPTION ...]",
        allow_abbrev=False,
    )
    add_run_options(parser)
    return parser
