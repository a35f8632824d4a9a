"""What was asked, checked and made ready: after this nothing is wrong but single clips."""

import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.resources import parse_resource_hints

from pipeline.assets.released import CLASS_LABELS, WEIGHTS
from pipeline.assets.resolve import (
    ResolvedAsset,
    find_class_labels,
    find_pca_params,
    find_segments,
    find_weights,
    segment_files,
)
from pipeline.cli.option_groups import ACCELERATOR, QUANTIZED
from pipeline.cli.options import Options
from pipeline.graph import EmbeddingJob
from pipeline.job.path_checks import Inputs, check_input, check_output
from pipeline.job.worker_paths import check_paths, check_seen
from transforms.audio.dsp.resample import SOXR
from transforms.audio.extraction import Extraction
from transforms.audio_shards.items import parse_columns
from transforms.audio_shards.sniff import shard_format
from transforms.audioset.example import SCHEMAS, YOUTUBE8M_SCHEMA
from transforms.audioset.layout import Sharding, check_split, colliding_ids, parse_sharding
from transforms.audioset.names import compile_id_pattern, video_id_of
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.embed_examples import EmbedExamples, FusedModelHandler, VggishModelHandler
from transforms.errors import SettingError
from transforms.extract_examples import ExtractExamples
from transforms.features.existing_records import ExistingRecords
from transforms.features.own_shards import ShardNotes
from transforms.inputs.input_list import InputList
from transforms.inputs.read_segments import ClassLabelFile, SegmentFiles
from transforms.progress import ProgressFolder
from transforms.read_clips import AUDIO, AUTO, ClipSettings, ReadClips
from transforms.rejects import KeepRejected, RejectFiles
from transforms.storage.files import folds_case
from transforms.vggish.params import Framing
from transforms.vggish.postprocess import RELEASED_RANGE, PcaParams, QuantizationRange
from transforms.vggish.precision import BFLOAT16, FLOAT16
from transforms.write_features import WriteFeatures

# Examples a call of the network: 64 is faster on CPU, by 14 % in float32 and by 36 % in bfloat16, but takes
# 0.15 GB more in float32, and a recording of hours is to pass in 1.5 GB (docs/performance.md).
_BATCH_SIZE, _BATCH_SIZES = 32, {BFLOAT16: 64, FLOAT16: 64}


@dataclass(frozen=True)
class Config:
    """A run that can begin.

    Attributes:
      options: as asked.
      weights, pca_params, class_labels: the assets that the run uses; None of those that it does not.
      framing: window and hop of an example.
      sharding: which shard a clip goes to.
      inputs: the files to read.
      clips: how inputs become clips.
      pca: PCA before quantization; None leaves it out.
    """

    options: Options
    weights: ResolvedAsset
    pca_params: ResolvedAsset | None
    class_labels: ResolvedAsset | None
    framing: Framing
    sharding: Sharding
    inputs: Inputs
    clips: ClipSettings
    pca: PcaParams | None

    @property
    def quantization(self) -> QuantizationRange:
        """The values that a byte of the features stands for."""
        return self.pca.quantization if self.pca else RELEASED_RANGE


def sketch(options: Options) -> Config:
    """A run as far as the command itself tells: nothing is opened, listed, fetched or written.

    Raises:
      SettingError: the first thing that is wrong.
    """
    framing = _framing(options.example_hop_seconds)
    if options.batch_size is not None and not 1 <= options.batch_size <= 4096:
        raise SettingError(f"--batch_size={options.batch_size}: give 1 to 4096 examples")
    if not 0 <= options.max_reject_fraction <= 1:
        raise SettingError(f"--max_reject_fraction={options.max_reject_fraction}: give 0 to 1")
    if options.output_schema == YOUTUBE8M_SCHEMA.name and options.postprocess != QUANTIZED:
        raise SettingError(
            f"--output_schema={options.output_schema}: its trainers read {QUANTIZED} frames alone; leave out "
            f"--postprocess={options.postprocess}"
        )
    check_split(options.split)
    if options.segment_seconds is not None and not framing.min_s <= options.segment_seconds < math.inf:
        raise SettingError(
            f"--segment_seconds={options.segment_seconds}: give at least {framing.min_s} s, one frame"
        )
    id_pattern = compile_id_pattern(options.id_pattern) if options.id_pattern else None
    _check_hints(options.inference_hint)
    sharding, columns = parse_sharding(options.sharding), parse_columns(options.columns)
    if options.resampler == SOXR and importlib.util.find_spec("soxr") is None:
        raise SettingError("--resampler=soxr: soxr is not installed; pip install 'audioset-beam[soxr]'")
    files = segment_files(options)
    check_paths(options, [path for _, path in files])
    labels = options.class_labels or CLASS_LABELS.url
    segments = SegmentFiles(files, labels, "") if files else None
    rejects = RejectFiles(options.input_rejects, "") if options.input_rejects else None
    clips = ClipSettings(options.split, options.input_format, columns, segments, None, id_pattern, rejects)
    weights = ResolvedAsset(options.weights or WEIGHTS.url, None, False)
    return Config(options, weights, None, None, framing, sharding, Inputs(), clips, None)


def check(options: Options) -> Config:
    """Checks all of a command, cheap things first, and finds its assets.

    Raises:
      SettingError: the first thing that is wrong.
    """
    drawn = sketch(options)
    inputs = check_input(options.input, output=options.output)
    rejects = _find_rejects(options.input_rejects) if options.input_rejects else None
    if not options.plan:  # which writes nothing, not even to find out whether it could
        check_output(options.output)
    segments, class_labels = find_segments(options)
    class_labels = class_labels or _labels_of_shards(options, inputs)
    # In the run's own folder, where the next run deletes what is left of the probe if this one is killed.
    own = FileSystems.join(options.output, RUN_FOLDER)
    if drawn.sharding == Sharding() and not options.plan and folds_case(own):
        _check_prefixes(options, inputs, segments, drawn.clips.id_pattern)
    pca, pca_params = None, None
    if options.postprocess == QUANTIZED:
        pca, pca_params = find_pca_params(options.pca_params, options.assets_dir)
    weights = find_weights(options.weights, options.assets_dir)
    for asset in (weights, class_labels):
        if asset and asset.sha256 and asset.address is None:  # one of --assets_dir, and not the released
            check_seen(options, asset.path)
    label_file = ClassLabelFile(class_labels.shared) if class_labels else None
    clips = replace(drawn.clips, segments=segments, class_labels=label_file, rejects=rejects)
    if rejects is not None:
        inputs = Inputs(rejects.index().files)
    return replace(
        drawn,
        inputs=inputs,
        weights=weights,
        pca_params=pca_params,
        class_labels=class_labels,
        clips=clips,
        pca=pca,
    )


def make_job(
    config: Config,
    add: bool,
    earlier_rejects: Sequence[str],
    progress: ProgressFolder | None = None,
    inputs: InputList | None = None,
    lock: str | None = None,
) -> EmbeddingJob:
    """The steps of a run.

    Args:
      config: of the run.
      add: whether the output has features already, made with the same settings.
      earlier_rejects: lists of clips that earlier runs rejected.
      progress: where workers on this machine tell how far they are.
      inputs: the list of the run's inputs; None: the graph lists them, as one that is never run may.
      lock: `run` of the lock of the output, as `lock_folder` gives it; None if there is none.
    """
    options, clips = config.options, config.clips
    notes = ShardNotes(options.output, lock)
    quantize = options.postprocess == QUANTIZED
    batch_size = options.batch_size or _BATCH_SIZES.get(options.precision, _BATCH_SIZE)
    network = config.weights.shared, batch_size, options.precision
    accelerated = options.frontend == ACCELERATOR
    handler = (
        FusedModelHandler(*network, quantize, config.pca) if accelerated else VggishModelHandler(*network)
    )
    return EmbeddingJob(
        read=ReadClips(inputs or options.input, clips, progress),
        extract=ExtractExamples(
            Extraction(config.framing, options.resampler, windows=accelerated),
            options.segment_seconds,
            ExistingRecords(options.output, config.sharding, notes) if add else None,
        ),
        embed=EmbedExamples(handler, dict(hint.split("=", 1) for hint in options.inference_hint)),
        quantize=quantize and not accelerated,
        pca=config.pca,
        write=WriteFeatures(options.output, config.sharding, notes, SCHEMAS[options.output_schema]),
        keep=KeepRejected(earlier_rejects, clips.rejects, options.input, options.split),
        progress=progress,
    )


def _labels_of_shards(options: Options, inputs: Inputs) -> ResolvedAsset | None:
    """Class labels for shards that name labels; without them only clips with such labels are rejected."""
    if options.class_labels is None and not _has_shards(options, inputs):
        return None
    return find_class_labels(options.class_labels, options.assets_dir)


def _has_shards(options: Options, inputs: Inputs) -> bool:
    """Whether inputs are shards by what the command or their names say."""
    if options.input_format != AUTO:
        return options.input_format != AUDIO
    return any(shard_format(path, b"") != AUDIO for path in inputs.paths)


def _find_rejects(patterns: Sequence[str]) -> RejectFiles:
    listed = check_input(patterns, "input_rejects")
    for path, cause in listed.faults:
        raise SettingError(f"--input_rejects={' '.join(patterns)}: {path} cannot be listed ({cause})")
    rejects = RejectFiles.of(listed.paths)
    if not rejects.index().files:
        raise SettingError(
            f"--input_rejects={' '.join(patterns)}: no clip was rejected; there is nothing to do"
        )
    return rejects


def _check_prefixes(
    options: Options, inputs: Inputs, segments: SegmentFiles | None, id_pattern: re.Pattern[str] | None
) -> None:
    """On a disk that folds case `ab.tfrecord` would replace `AB.tfrecord`."""
    where = f"--output={options.output}: this disk takes 'ab' and 'AB' for one name"
    remedy = "give --sharding=hash:N, as hash:64"
    if segments is not None:
        ids = (segment.video_id for segment in segments.table())
    elif _has_shards(options, inputs):
        raise SettingError(f"{where}, and shards may hold clips whose prefixes collide; {remedy}")
    else:
        ids = (video_id for path in inputs.paths if (video_id := video_id_of(path, id_pattern)))
    collision = colliding_ids(ids)
    if collision:
        raise SettingError(f"{where}, and the prefixes of {' and '.join(collision)} collide; {remedy}")


def _check_hints(hints: Sequence[str]) -> None:
    for hint in hints:
        name, equals, value = hint.partition("=")
        try:
            if not equals:
                raise ValueError("it lacks a value")
            parse_resource_hints({name: value})
        except ValueError as error:
            raise SettingError(
                f"--inference_hint={hint}: {error}; give NAME=VALUE as Beam's resource hints have them, "
                "as min_ram=16GB"
            ) from error


def _framing(hop_s: float) -> Framing:
    try:
        return Framing(hop_s=hop_s)
    except ValueError as error:
        raise SettingError(f"--example_hop_seconds: {error}") from error
