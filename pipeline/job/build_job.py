"""Builds the steps of a run from its configuration."""

from collections.abc import Sequence

from pipeline.cli.option_groups import ACCELERATOR, QUANTIZED
from pipeline.graph import EmbeddingJob
from pipeline.job.config import Config
from transforms.audio.extraction import Extraction
from transforms.audioset.schemas import SCHEMAS
from transforms.embed_examples import EmbedExamples, FusedModelHandler, VggishModelHandler
from transforms.extract_examples import ExtractExamples
from transforms.features.existing_records import ExistingRecords
from transforms.features.folder_shards import ShardNotes
from transforms.inputs.input_list import InputList
from transforms.progress import ProgressFolder
from transforms.read_clips import ReadClips
from transforms.rejects import KeepRejected
from transforms.vggish.precision import BFLOAT16, FLOAT16
from transforms.write_features import WriteFeatures

# Examples per batch. On CPU, 64 is faster than 32 by 14 % in float32 and by 36 % in bfloat16. In float32 it
# needs 0.15 GB more, and a run over a recording of several hours must need at most 1.5 GB
# (docs/performance.md).
_BATCH_SIZE, _BATCH_SIZES = 32, {BFLOAT16: 64, FLOAT16: 64}


def build_job(
    config: Config,
    add: bool,
    earlier_rejects: Sequence[str],
    progress: ProgressFolder | None = None,
    inputs: InputList | None = None,
    lock: str | None = None,
) -> EmbeddingJob:
    """Builds the steps of a run.

    Args:
      add: whether the output already has features, made with the same settings.
      earlier_rejects: paths of the lists of clips that earlier runs rejected.
      progress: where workers on this machine report progress; None for no reports.
      inputs: the list of the run's inputs; if None, the graph lists them itself.
      lock: `run` of the lock of the output, as `lock_folder` yields it; None if there is none.
    """
    options, clips, assets = config.options, config.clips, config.assets
    notes = ShardNotes(options.output, lock)
    quantize = options.postprocess == QUANTIZED
    batch_size = options.batch_size or _BATCH_SIZES.get(options.precision, _BATCH_SIZE)
    network = assets.weights.shared, batch_size, options.precision
    accelerated = options.frontend == ACCELERATOR
    handler = (
        FusedModelHandler(*network, quantize, assets.pca) if accelerated else VggishModelHandler(*network)
    )
    return EmbeddingJob(
        read=ReadClips(inputs or options.input, clips, progress),
        extract=ExtractExamples(
            Extraction(config.valid.framing, options.resampler, accelerated, options.pad_short),
            options.segment_seconds,
            ExistingRecords(options.output, config.sharding, notes) if add else None,
        ),
        embed=EmbedExamples(handler, dict(hint.split("=", 1) for hint in options.inference_hint)),
        quantize=quantize and not accelerated,
        pca=assets.pca,
        write=WriteFeatures(options.output, config.sharding, notes, SCHEMAS[options.output_schema]),
        keep=KeepRejected(earlier_rejects, clips.rejects, options.input, options.split),
        progress=progress,
    )
