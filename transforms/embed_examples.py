"""Examples to embeddings, with one model per worker process."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.clip_chunks import Examples
from transforms.clips import ClipChunk, Key, RejectedClip, reject
from transforms.errors import ClipError, OutOfMemoryError, Reason
from transforms.pcm import device_front_end
from transforms.stage import Stage
from transforms.storage.shared_files import SharedFile, local_path
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.postprocess import PcaParams
from transforms.vggish.precision import FLOAT32

if TYPE_CHECKING:
    from transforms.vggish.fused import FusedEmbedder
    from transforms.vggish.model import Embedder

# Beam compares type hints; for arrays it supports only np.ndarray.
Embeddings = tuple[ClipChunk, np.ndarray]  # float32[n, 128], or uint8[n, 128] from windows, quantized
Outcome = tuple[ClipChunk, np.ndarray | ClipError]
Source = tuple[Key, str, int | None]  # clip, file, offset
Failure = tuple[ClipChunk, str]  # chunk, message

STAGE = "embed_examples"

_FAILED = "failed"
_MESSAGE_CHARACTERS = 300

# Beam rejects an element that is larger than a batch; this is more than `extract_examples` puts in a chunk.
_MAX_CHUNK = 256


def embed_chunks(model: Any, batch: Sequence[Examples]) -> Iterator[Outcome]:
    """Embed chunks together; if that fails, embed them one by one, so that only the faulty chunk fails.

    The outcome of a chunk is a ClipError if the model raised an error on it alone, or returned NaN or
    infinite values. OutOfMemoryError is raised if not even one example fits into memory.
    """
    try:
        embeddings = model.embed_clips([examples for _, examples in batch])
    except OutOfMemoryError:
        raise
    except Exception as error:
        if len(batch) > 1:
            for element in batch:
                yield from embed_chunks(model, [element])
            return
        cause = " ".join(str(error).split())
        yield batch[0][0], ClipError(Reason.NOT_EMBEDDED, f"the model failed: {cause[:_MESSAGE_CHARACTERS]}")
        return
    for (chunk, _), embedded in zip(batch, embeddings, strict=True):
        if embedded is not None:
            yield chunk, embedded
        else:
            yield chunk, ClipError(Reason.NOT_EMBEDDED, "the model returned NaN or infinite embeddings")


class LazyModel:
    """Makes a model at its first use, once for all threads of a process.

    Beam loads models before the first element arrives. A run whose clips all have features needs none.
    """

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._model: Any = None
        self._lock = threading.Lock()

    def get(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = self._make()
            return self._model


class VggishModelHandler(ModelHandler[Examples, Outcome, Any]):
    """Loads VGGish and embeds batches of whole chunks.

    Args:
      weights: as for `checkpoint.read_weights`, or a shared file with them that each worker fetches.
      batch_size, precision: as for `model.Embedder`.

    Attributes:
      model_batches: number of the network's batches in a batch of Beam.
    """

    # Chunks are not split, so a batch of Beam is seldom a multiple of the network's batch size. With four of
    # the network's batches in each, padding the last one costs little: clips of ten examples fill 250 of 256.
    model_batches = 4

    def __init__(self, weights: SharedFile | str, batch_size: int, precision: str = FLOAT32):
        size = max(self.model_batches * batch_size, _MAX_CHUNK)
        super().__init__(
            min_batch_size=size, max_batch_size=size, element_size_fn=lambda element: len(element[1])
        )
        self._weights = weights
        self._batch_size = batch_size
        self._precision = precision

    def load_model(self) -> "LazyModel":
        return LazyModel(self.make_model)

    def make_model(self) -> "Embedder | FusedEmbedder":
        """Load the weights and build the model, which takes seconds."""
        from transforms.vggish.model import Embedder, enable_memory_growth  # Keras takes seconds

        enable_memory_growth()
        return Embedder(read_weights(local_path(self._weights)), self._batch_size, self._precision)

    def run_inference(
        self, batch: Sequence[Examples], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Outcome]:
        # A list, since Beam does not count failures inside a generator.
        return list(embed_chunks(model.get(), batch))

    def get_num_bytes(self, batch: Sequence[Examples]) -> int:
        return sum(examples.nbytes for _, examples in batch)  # the default would pickle the batch

    def get_metrics_namespace(self) -> str:
        return "VggishModelHandler"


class FusedModelHandler(VggishModelHandler):
    """Loads the graph from PCM to quantized bytes or raw embeddings, and runs batches of whole chunks.

    Args:
      weights: as for `VggishModelHandler`.
      batch_size, precision, quantize, pca: as for `fused.FusedEmbedder`.
    """

    # PCM takes up to thirty times the memory of log-mel examples.
    model_batches = 2

    def __init__(
        self,
        weights: SharedFile | str,
        batch_size: int,
        precision: str = FLOAT32,
        quantize: bool = True,
        pca: PcaParams | None = None,
    ):
        super().__init__(weights, batch_size, precision)
        self._quantize = quantize
        self._pca = pca

    def make_model(self) -> "FusedEmbedder":
        from transforms.vggish.fused import FusedEmbedder
        from transforms.vggish.model import enable_memory_growth

        enable_memory_growth()
        weights = read_weights(local_path(self._weights))
        return FusedEmbedder(
            weights, device_front_end, self._quantize, self._pca, self._batch_size, self._precision
        )


class EmbeddedExamples(NamedTuple):
    """What `EmbedExamples` returns: PCollections of (ClipChunk, features[n, 128]) and of RejectedClip."""

    embeddings: beam.PCollection[Embeddings]
    rejected: beam.PCollection[RejectedClip]


@dataclass
class EmbedExamples(Stage):
    """(ClipChunk, float32[n, 96, 64] or PcmWindows) -> (ClipChunk, features[n, 128]).

    Attributes:
      handler: loads and runs the model for this kind of examples.
      hints: Beam's resource hints for the inference step only. Without hints, the model runs on the machine
        that extracts the examples.
    """

    handler: VggishModelHandler
    hints: Mapping[str, str] = field(default_factory=dict)

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, examples: beam.PCollection[Examples]) -> EmbeddedExamples:
        if self.hints:
            # Steps with different hints run on different machines; elements between them must be shuffled.
            examples |= "ToModel" >> beam.Reshuffle()
        outcomes = (
            examples
            | "RunInference" >> RunInference(self.handler).with_resource_hints(**self.hints)
            # (ClipChunk, features[n, 128] or ClipError)
            | "SplitOutcomes" >> beam.ParDo(_split_outcome).with_outputs(_FAILED, main="embeddings")
        )
        rejected = (
            outcomes[_FAILED]
            # A long recording may fail in several chunks, but is rejected once.
            | "GroupByClip" >> beam.GroupByKey()
            | "Reject" >> beam.MapTuple(lambda _, failed: _reject_once(failed))
        )
        return EmbeddedExamples(outcomes.embeddings, rejected)


def _split_outcome(
    outcome: Outcome,
) -> Iterator[Embeddings | TaggedOutput[Literal["failed"], tuple[Source, Failure]]]:
    chunk, result = outcome
    if isinstance(result, ClipError):
        source = (chunk.key, chunk.file, chunk.offset)
        yield TaggedOutput(_FAILED, (source, (chunk, str(result))))
    else:
        yield chunk, result


def _reject_once(failed: Iterable[Failure]) -> RejectedClip:
    chunk, message = min(failed, key=lambda failure: failure[0].index)
    return reject(chunk, STAGE, ClipError(Reason.NOT_EMBEDDED, message))
