"""A validated configuration: options, inputs and assets; after this only individual clips can fail."""

from collections.abc import Sequence
from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems

from pipeline.assets.released import CLASS_LABELS, WEIGHTS
from pipeline.assets.resolve import (
    ResolvedAsset,
    find_class_labels,
    find_pca_params,
    find_segments,
    find_weights,
)
from pipeline.cli.option_groups import QUANTIZED
from pipeline.cli.options import Options
from pipeline.job.path_checks import Inputs, check_input, check_output
from pipeline.job.validate import ValidOptions
from pipeline.job.worker_paths import check_seen
from transforms.audio_shards.formats import AUDIO, AUTO
from transforms.audio_shards.sniff import shard_format
from transforms.audioset.layout import Sharding, colliding_ids
from transforms.audioset.names import video_id_of
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.errors import SettingError
from transforms.inputs.read_segments import SegmentFiles
from transforms.read_clips import ClipSettings
from transforms.rejects import RejectFiles
from transforms.storage.files import folds_case
from transforms.vggish.postprocess import RELEASED_RANGE, PcaParams, QuantizationRange


@dataclass(frozen=True)
class RunAssets:
    """The files that a run uses besides its audio; None for each file that it does not use.

    `pca` has the values of the file `pca_params`.
    """

    weights: ResolvedAsset
    pca_params: ResolvedAsset | None = None
    class_labels: ResolvedAsset | None = None
    pca: PcaParams | None = None
    segments: SegmentFiles | None = None

    @property
    def quantization(self) -> QuantizationRange:
        """The range of values that the bytes of the features represent."""
        return self.pca.quantization if self.pca else RELEASED_RANGE


@dataclass(frozen=True)
class Config:
    """The validated configuration of a run; `clips` defines how the inputs become clips."""

    valid: ValidOptions
    inputs: Inputs
    assets: RunAssets
    clips: ClipSettings

    @property
    def options(self) -> Options:
        """The options as given."""
        return self.valid.given

    @property
    def sharding(self) -> Sharding:
        """Which shard a clip goes to."""
        return self.valid.sharding


def prepare(valid: ValidOptions) -> Config:
    """Lists the inputs and resolves the assets, with the cheap checks first.

    Raises:
      SettingError: the first mistake found.
    """
    options = valid.given
    inputs = check_input(options.input, output=options.output)
    rejects = _find_rejects(options.input_rejects) if options.input_rejects else None
    if not options.plan:  # --plan writes nothing, not even to check that the output is writable
        check_output(options.output)
    assets = _resolve_assets(valid, inputs)
    if rejects is not None:
        inputs = Inputs(rejects.index().files)
    return Config(valid, inputs, assets, _clip_settings(valid, assets, rejects))


def prepare_offline(valid: ValidOptions) -> Config:
    """Returns a configuration for a graph that never runs: nothing is opened, listed or downloaded."""
    options = valid.given
    labels = options.class_labels or CLASS_LABELS.url
    segments = SegmentFiles(valid.segment_files, labels, "") if valid.segment_files else None
    assets = RunAssets(ResolvedAsset(options.weights or WEIGHTS.url, None, False), segments=segments)
    rejects = RejectFiles(options.input_rejects, "") if options.input_rejects else None
    return Config(valid, Inputs(), assets, _clip_settings(valid, assets, rejects))


def _resolve_assets(valid: ValidOptions, inputs: Inputs) -> RunAssets:
    options = valid.given
    segments, class_labels = find_segments(options.segments, options.class_labels, options.assets_dir)
    if class_labels is None and (options.class_labels is not None or _has_shards(options, inputs)):
        # Records in shards may have labels by name; without class labels, only these clips are rejected.
        class_labels = find_class_labels(options.class_labels, options.assets_dir)
    # In the run's own folder, where the next run deletes what is left of the probe if this one is killed.
    own = FileSystems.join(options.output, RUN_FOLDER)
    if valid.sharding == Sharding() and not options.plan and folds_case(own):
        _check_prefixes(valid, inputs, segments)
    pca, pca_params = None, None
    if options.postprocess == QUANTIZED:
        pca, pca_params = find_pca_params(options.pca_params, options.assets_dir)
    weights = find_weights(options.weights, options.assets_dir)
    for asset in (weights, class_labels):
        if asset and asset.sha256 and asset.address is None:  # a local file that is not the released one
            check_seen(options, asset.path)
    return RunAssets(weights, pca_params, class_labels, pca, segments)


def _clip_settings(valid: ValidOptions, assets: RunAssets, rejects: RejectFiles | None) -> ClipSettings:
    options = valid.given
    labels = assets.class_labels.shared if assets.class_labels else None
    form, columns, id_pattern = options.input_format, valid.columns, valid.id_pattern
    return ClipSettings(options.split, form, columns, assets.segments, labels, id_pattern, rejects)


def _has_shards(options: Options, inputs: Inputs) -> bool:
    """Returns whether inputs are audio shards by the options or by their names."""
    if options.input_format != AUTO:
        return options.input_format != AUDIO
    return any(shard_format(path, b"") != AUDIO for path in inputs.paths)


def _find_rejects(patterns: Sequence[str]) -> RejectFiles:
    given = f"--input_rejects={' '.join(patterns)}"
    listed = check_input(patterns, "input_rejects")
    for path, cause in listed.problems:
        raise SettingError(f"{given}: {path} cannot be listed ({cause})")
    rejects = RejectFiles.of(listed.paths)
    if not rejects.index().files:
        raise SettingError(f"{given}: the lists contain no rejected clip; there is nothing to do")
    return rejects


def _check_prefixes(valid: ValidOptions, inputs: Inputs, segments: SegmentFiles | None) -> None:
    """Raises SettingError if prefixes differ only by case: `ab.tfrecord` would replace `AB.tfrecord`."""
    options = valid.given
    where = f"--output={options.output}: this disk treats 'ab' and 'AB' as the same name"
    remedy = "give --sharding=hash:N, such as hash:64"
    if segments is not None:
        ids = (segment.video_id for segment in segments.table())
    elif _has_shards(options, inputs):
        raise SettingError(f"{where}, and shards may contain clips whose prefixes collide; {remedy}")
    else:
        ids = (video_id for path in inputs.paths if (video_id := video_id_of(path, valid.id_pattern)))
    collision = colliding_ids(ids)
    if collision:
        raise SettingError(f"{where}, and the prefixes of {' and '.join(collision)} collide; {remedy}")
