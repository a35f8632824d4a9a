"""Log-mel examples to embeddings, with one model a worker process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference

from transforms.clips import Piece
from transforms.vggish.checkpoint import read_weights

if TYPE_CHECKING:
    from transforms.vggish.model import Embedder

# Beam compares type hints, and knows arrays by np.ndarray alone.
Examples = tuple[Piece, np.ndarray]  # float32[n, 96, 64]
Embeddings = tuple[Piece, np.ndarray]  # float32[n, 128]

# Pieces stay whole, so a Beam batch seldom is a multiple of the network's; with eight of those in
# each, padding the last one costs under a sixteenth on the average.
_MODEL_BATCHES = 8


class VggishModelHandler(ModelHandler[Examples, Embeddings, "Embedder"]):
    """Loads VGGish and embeds batches of whole pieces.

    Args:
      weights: as `checkpoint.read_weights` takes; a path that every worker can read.
      batch_size: examples a call of the network; see `model.Embedder`.
    """

    def __init__(self, weights: str, batch_size: int):
        super().__init__()
        self._weights = weights
        self._batch_size = batch_size

    def load_model(self) -> "Embedder":
        from transforms.vggish.model import Embedder  # seconds of Keras, on workers only

        return Embedder(read_weights(self._weights), self._batch_size)

    def run_inference(
        self,
        batch: Sequence[Examples],
        model: "Embedder",
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Embeddings]:
        pieces, examples = zip(*batch, strict=True)
        # A list, since Beam counts no failure inside a generator.
        return list(zip(pieces, model.embed_clips(examples), strict=True))

    def get_num_bytes(self, batch: Sequence[Examples]) -> int:
        return sum(examples.nbytes for _, examples in batch)  # Beam's own would pickle the batch

    def get_metrics_namespace(self) -> str:
        return "VggishModelHandler"

    def batch_elements_kwargs(self) -> dict[str, Any]:
        size = _MODEL_BATCHES * self._batch_size
        return {"min_batch_size": size, "max_batch_size": size, "element_size_fn": _num_examples}


def _num_examples(element: Examples) -> int:
    return len(element[1])


@dataclass
class EmbedExamples(beam.PTransform):
    """(Piece, float32[n, 96, 64]) -> (Piece, float32[n, 128]).

    Attributes:
      handler: loads and runs the model.
    """

    handler: VggishModelHandler

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, examples: beam.PCollection[Examples]) -> beam.PCollection[Embeddings]:
        return examples | RunInference(self.handler)
