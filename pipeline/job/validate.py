"""Checks a command's options without opening, listing, downloading or writing anything."""

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apache_beam.transforms.resources import parse_resource_hints

from pipeline.assets.resolve import segment_files
from pipeline.cli.option_groups import QUANTIZED
from pipeline.cli.options import Options
from pipeline.job.worker_paths import check_paths
from transforms.audio.resamplers import SOXR
from transforms.audio_shards.items import parse_columns
from transforms.audioset.layout import Sharding, check_split, parse_sharding
from transforms.audioset.names import compile_id_pattern
from transforms.audioset.schemas import YOUTUBE8M_SCHEMA
from transforms.errors import SettingError
from transforms.vggish.params import Framing


@dataclass(frozen=True)
class ValidOptions:
    """Validated options, with parsed values where an option is more than a string.

    Attributes:
      given: the options as given.
      framing, sharding: window and hop of an example, and which shard a clip goes to.
      columns: names of the fields in audio shards.
      segment_files: (split, path) of each segments CSV.
      id_pattern: pattern of the ids in input paths; None if not given.
    """

    given: Options
    framing: Framing
    sharding: Sharding
    columns: Mapping[str, str]
    segment_files: tuple[tuple[str, str], ...]
    id_pattern: re.Pattern[str] | None


def validate(options: Options) -> ValidOptions:
    """Checks everything that depends only on the command line.

    Raises:
      SettingError: the first mistake found.
    """
    try:
        framing = Framing(hop_s=options.example_hop_seconds)
    except ValueError as error:
        raise SettingError(f"--example_hop_seconds: {error}") from error
    if options.batch_size is not None and not 1 <= options.batch_size <= 4096:
        raise SettingError(f"--batch_size={options.batch_size}: give 1 to 4096 examples")
    if not 0 <= options.max_reject_fraction <= 1:
        raise SettingError(f"--max_reject_fraction={options.max_reject_fraction}: give 0 to 1")
    if options.output_schema == YOUTUBE8M_SCHEMA.name and options.postprocess != QUANTIZED:
        raise SettingError(
            f"--output_schema={options.output_schema}: its trainers read only {QUANTIZED} frames; leave out "
            f"--postprocess={options.postprocess}"
        )
    check_split(options.split)
    if options.segment_seconds is not None and not framing.min_s <= options.segment_seconds < math.inf:
        raise SettingError(
            f"--segment_seconds={options.segment_seconds}: give at least {framing.min_s} s, the length of "
            "one frame"
        )
    id_pattern = compile_id_pattern(options.id_pattern) if options.id_pattern else None
    _check_hints(options.inference_hint)
    sharding, columns = parse_sharding(options.sharding), parse_columns(options.columns)
    if options.resampler == SOXR and importlib.util.find_spec("soxr") is None:
        raise SettingError("--resampler=soxr: soxr is not installed; pip install 'audioset-beam[soxr]'")
    segments = segment_files(options.segments)
    check_paths(options, [path for _, path in segments])
    return ValidOptions(options, framing, sharding, columns, segments, id_pattern)


def _check_hints(hints: Sequence[str]) -> None:
    for hint in hints:
        name, equals, value = hint.partition("=")
        try:
            if not equals:
                raise ValueError("it has no value")
            parse_resource_hints({name: value})
        except ValueError as error:
            raise SettingError(
                f"--inference_hint={hint}: {error}; give one of Beam's resource hints as NAME=VALUE, such as "
                "min_ram=16GB"
            ) from error
