"""What was asked, checked and made ready: after this nothing is wrong but single clips."""

import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.resources import parse_resource_hints

from pipeline.assets import CLASS_LABELS, PCA_PARAMS, WEIGHTS, Asset, find_asset
from pipeline.graph import FeatureJob, run_path
from pipeline.options import ACCELERATOR, NO_PCA, QUANTIZED, Options
from pipeline.workers import check_paths, check_seen
from transforms.audio.front_end import waveform_examples
from transforms.audio.resample import SOXR
from transforms.audioset.layout import Sharding, check_split, colliding_ids, parse_sharding
from transforms.audioset.names import compile_id_pattern, video_id_of
from transforms.audioset.segments import split_of
from transforms.embed_examples import EmbedExamples, FusedModelHandler, VggishModelHandler
from transforms.errors import SettingError
from transforms.extract_examples import ExtractExamples
from transforms.files import (
    FILE_ERRORS,
    check_reachable,
    delete_files,
    folds_case,
    is_local,
    match_files,
    open_file,
    put_file,
)
from transforms.pcm import pcm_windows
from transforms.read_clips import AUDIO, AUTO, ClipSettings, ReadClips
from transforms.read_segments import ClassLabelFile, SegmentFiles
from transforms.rejects import KeepRejected, RejectFiles
from transforms.shards.items import parse_columns
from transforms.shards.sniff import shard_format
from transforms.shared_files import SharedFile, sha256_of
from transforms.vggish.checkpoint import RANDOM, check_weights
from transforms.vggish.params import Framing
from transforms.vggish.postprocess import PcaParams, read_pca_params
from transforms.vggish.precision import BFLOAT16, FLOAT16
from transforms.write_features import WriteFeatures
from transforms.written_clips import WrittenClips

# Examples a call of the network: 64 is faster on CPU, by 14 % in float32 and by 36 % in bfloat16, but takes
# 0.15 GB more in float32, and a recording of hours is to pass in 1.5 GB (docs/performance.md).
_BATCH_SIZE, _BATCH_SIZES = 32, {BFLOAT16: 64, FLOAT16: 64}


@dataclass(frozen=True)
class AssetFile:
    """An asset as a run uses it.

    Attributes:
      path: on this machine; or `random:SEED`.
      sha256: of its bytes; None of `random:SEED`.
      released: whether it is the released file.
      address: where workers elsewhere find it; None if it is on this machine alone.
    """

    path: str
    sha256: str | None
    released: bool
    address: str | None = None

    @property
    def shared(self) -> SharedFile | str:
        """What a stage carries of it."""
        return self.path if self.sha256 is None else SharedFile(self.path, self.sha256, self.address)

    def __str__(self) -> str:
        if self.sha256 is None:
            return f"{self.path} (noise: its embeddings mean nothing)"
        origin = "the released file" if self.released else "not the released file"
        return f"{self.path} ({origin}, sha256 {self.sha256[:8]}…)"


@dataclass(frozen=True)
class Config:
    """A run that can begin.

    Attributes:
      options: as asked.
      weights, pca_params, class_labels: the assets that the run uses; None of those that it does not.
      framing: window and hop of an example.
      sharding: which shard a clip goes to.
      clips: how inputs become clips.
      pca: PCA before quantization; None leaves it out.
    """

    options: Options
    weights: AssetFile
    pca_params: AssetFile | None
    class_labels: AssetFile | None
    framing: Framing
    sharding: Sharding
    clips: ClipSettings
    pca: PcaParams | None


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
    segment_files = _segment_files(options)
    check_paths(options, [path for _, path in segment_files])
    labels = options.class_labels or CLASS_LABELS.url
    segments = SegmentFiles(segment_files, labels, "") if segment_files else None
    rejects = RejectFiles(options.input_rejects, "") if options.input_rejects else None
    clips = ClipSettings(options.split, options.input_format, columns, segments, None, id_pattern, rejects)
    weights = AssetFile(options.weights or WEIGHTS.url, None, False)
    return Config(options, weights, None, None, framing, sharding, clips, None)


def check(options: Options) -> Config:
    """Checks all of a command, cheap things first, and finds its assets.

    Raises:
      SettingError: the first thing that is wrong.
    """
    drawn = sketch(options)
    check_input(options.input)
    rejects = _find_rejects(options.input_rejects) if options.input_rejects else None
    check_output(options.output)
    segments, class_labels = find_segments(options)
    class_labels = class_labels or _labels_of_shards(options)
    if drawn.sharding == Sharding() and folds_case(options.output):
        _check_prefixes(options, segments, drawn.clips.id_pattern)
    pca, pca_params = None, None
    if options.postprocess == QUANTIZED:
        pca, pca_params = find_pca_params(options.pca_params, options.assets_dir)
    weights = find_weights(options.weights, options.assets_dir)
    for asset in (weights, class_labels):
        if asset and asset.sha256 and asset.address is None:  # one of --assets_dir, and not the released
            check_seen(options, asset.path)
    label_file = ClassLabelFile(class_labels.shared) if class_labels else None
    clips = replace(drawn.clips, segments=segments, class_labels=label_file, rejects=rejects)
    return replace(
        drawn, weights=weights, pca_params=pca_params, class_labels=class_labels, clips=clips, pca=pca
    )


def make_job(config: Config, add: bool, earlier_rejects: Sequence[str]) -> FeatureJob:
    """The steps of a run.

    Args:
      config: of the run.
      add: whether the output has features already, made with the same settings.
      earlier_rejects: lists of clips that earlier runs rejected.
    """
    options, clips = config.options, config.clips
    quantize = options.postprocess == QUANTIZED
    batch_size = options.batch_size or _BATCH_SIZES.get(options.precision, _BATCH_SIZE)
    network = config.weights.shared, batch_size, options.precision
    accelerated = options.frontend == ACCELERATOR
    handler = (
        FusedModelHandler(*network, quantize, config.pca) if accelerated else VggishModelHandler(*network)
    )
    return FeatureJob(
        read=ReadClips(options.input, clips),
        extract=ExtractExamples(
            config.framing,
            options.segment_seconds,
            WrittenClips(options.output, config.sharding) if add else None,
            options.resampler,
            cut=pcm_windows if accelerated else waveform_examples,
        ),
        embed=EmbedExamples(handler, dict(hint.split("=", 1) for hint in options.inference_hint)),
        quantize=quantize and not accelerated,
        pca=config.pca,
        write=WriteFeatures(options.output, config.sharding, add),
        keep=KeepRejected(earlier_rejects, clips.rejects),
    )


class SegmentOptions(Protocol):
    """The options that segments are found by, of any command."""

    @property
    def segments(self) -> Sequence[str]: ...
    @property
    def class_labels(self) -> str | None: ...
    @property
    def assets_dir(self) -> str | None: ...


def find_weights(given: str | None, assets_dir: str | None) -> AssetFile:
    """Finds and checks VGGish weights; `given` as `--weights`.

    Raises:
      SettingError: they cannot be had, or are no VGGish weights.
    """
    if given is not None and given.startswith(RANDOM):
        check_weights(given)
        return AssetFile(given, None, False)
    file = _asset_file(WEIGHTS, given, assets_dir)
    check_weights(file.path)
    return file


def find_pca_params(given: str | None, assets_dir: str | None) -> tuple[PcaParams | None, AssetFile | None]:
    """Finds and reads PCA parameters; `given` as `--pca_params`, whose `none` gives (None, None).

    Raises:
      SettingError: they cannot be had, or are no PCA parameters of VGGish.
    """
    if given == NO_PCA:
        return None, None
    file = _asset_file(PCA_PARAMS, given, assets_dir)
    with open_file(file.path) as opened:
        return read_pca_params(opened, file.path), file


def find_segments(options: SegmentOptions) -> tuple[SegmentFiles | None, AssetFile | None]:
    """Finds and reads segments CSVs and the class labels that they use.

    Raises:
      SettingError: a file cannot be had or has a bad row.
    """
    if not options.segments:
        return None, None
    files = _segment_files(options)
    class_labels = _asset_file(CLASS_LABELS, options.class_labels, options.assets_dir)
    source = SegmentFiles.of(files, class_labels.shared)
    if not len(source.table()):
        raise SettingError(f"--segments={','.join(options.segments)}: no segment in them; give others")
    return source, class_labels


def _segment_files(options: SegmentOptions) -> tuple[tuple[str, str], ...]:
    """(split, path) of each segments CSV."""
    files = []
    for text in options.segments:
        split, equals, path = text.partition("=")
        if not equals or "/" in split:
            split, path = split_of(text), text
        files.append((check_split(split), path))
    return tuple(files)


def _labels_of_shards(options: Options) -> AssetFile | None:
    """Class labels for shards that name labels; without them only clips with such labels are rejected."""
    if options.class_labels is None and not _has_shards(options):
        return None
    try:
        file = _asset_file(CLASS_LABELS, options.class_labels, options.assets_dir)
        ClassLabelFile(file.shared).indices()
        return file
    except SettingError:
        if options.class_labels is not None:
            raise
        return None


def _has_shards(options: Options) -> bool:
    """Whether inputs are shards by what the command or their names say."""
    if options.input_format != AUTO:
        return options.input_format != AUDIO
    paths = (path for pattern in options.input for path in match_files(pattern))
    return any(shard_format(path, b"") != AUDIO for path in paths)


def _find_rejects(patterns: Sequence[str]) -> RejectFiles:
    check_input(patterns, "input_rejects")
    rejects = RejectFiles.of([path for pattern in patterns for path in match_files(pattern)])
    if not rejects.index().files:
        raise SettingError(
            f"--input_rejects={' '.join(patterns)}: no clip was rejected; there is nothing to do"
        )
    return rejects


def _check_prefixes(
    options: Options, segments: SegmentFiles | None, id_pattern: re.Pattern[str] | None
) -> None:
    """On a disk that folds case `ab.tfrecord` would replace `AB.tfrecord`."""
    where = f"--output={options.output}: this disk takes 'ab' and 'AB' for one name"
    remedy = "give --sharding=hash:N, as hash:64"
    if segments is not None:
        ids = (segment.video_id for segment in segments.table())
    elif _has_shards(options):
        raise SettingError(f"{where}, and shards may hold clips whose prefixes collide; {remedy}")
    else:
        paths = (path for pattern in options.input for path in match_files(pattern))
        ids = (video_id for path in paths if (video_id := video_id_of(path, id_pattern)))
    collision = colliding_ids(ids)
    if collision:
        raise SettingError(f"{where}, and the prefixes of {' and '.join(collision)} collide; {remedy}")


def _asset_file(asset: Asset, given: str | None, assets_dir: str | None) -> AssetFile:
    path = find_asset(asset, given, assets_dir)
    sha256 = sha256_of(path)
    released = sha256 == asset.sha256
    if given is not None and not is_local(given):
        return AssetFile(path, sha256, released, given)
    return AssetFile(path, sha256, released, asset.url if released else None)


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


def check_input(patterns: Sequence[str], option: str = "input") -> None:
    """Raises SettingError if a glob of an option matches no file."""
    for pattern in patterns:
        try:
            check_reachable(pattern)
            if match_files(pattern):
                continue
        except (*FILE_ERRORS, ValueError) as error:
            raise SettingError(f"--{option}={pattern}: cannot be listed ({error}); check the path") from error
        raise SettingError(
            f"--{option}={pattern}: matches no file; give a glob, as FOLDER/*.wav, "
            "or FOLDER/** for all below it"
        )


def check_output(output: str, *shards: str) -> None:
    """Raises SettingError if a folder cannot be made and written, or holds files that match `shards`."""
    probe = run_path(output, "probe")
    try:
        check_reachable(output)
        put_file(probe, b"can be written\n")
        delete_files([probe])
        found = [path for pattern in shards for path in match_files(FileSystems.join(output, pattern))]
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"--output={output}: cannot be written ({error}); give another folder") from error
    if found:
        raise SettingError(
            f"--output={output}: holds {len(found)} shards already, as {found[0]}; "
            "give another folder or remove them"
        )
