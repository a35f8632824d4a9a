"""Computes moments of vectors in one pass with TensorFlow Transform's analyzers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms.frameworks import tf  # before TensorFlow Transform imports it

# isort: split
import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from transforms.stage import Stage
from transforms.statistics.moments import Moments

_VECTOR = "vector"
_COUNT, _SUM, _COVARIANCE = "count", "sum", "covariance"
# Values per batch: 2 MB, or 4,096 embeddings, so many that the cost of a graph's call is negligible.
_BATCH_VALUES = 1 << 19


@dataclass
class AnalyzeVectors(Stage):
    """float32[n, size] with any n -> Moments, one element; no element without vectors.

    Sums are float64, so that sums of bytes are exact in whatever order a runner adds them.

    Attributes:
      size: number of values per vector.
      temp_dir: a folder for graphs that workers share and TensorFlow can write to. It is not deleted.
      num_buckets: number of buckets into which the quantiles divide the vectors.
      max_rank_error: largest error of a quantile's rank, as a share of all vectors.
    """

    size: int
    temp_dir: str
    num_buckets: int = 100
    max_rank_error: float = 1e-3

    def expand(self, vectors: beam.PCollection[np.ndarray]) -> beam.PCollection[Moments]:
        rows = max(1, _BATCH_VALUES // self.size)
        config = _adapter_config(self.size)
        with tft_beam.Context(temp_dir=self.temp_dir):
            batches = (
                vectors
                | "Split" >> beam.FlatMap(lambda v: [v[n : n + rows] for n in range(0, len(v), rows)])
                | "Batch" >> beam.BatchElements(min_batch_size=rows, max_batch_size=rows, element_size_fn=len)
                # list of float32[n, size] with `rows` rows in total
                | "ToRecordBatch" >> beam.Map(_record_batch)
            )
            analyzed = (batches, config) | "Analyze" >> tft_beam.AnalyzeDataset(
                _statistics(self.num_buckets, self.max_rank_error)
            )
            # The results are constants of a graph: running the graph on one vector returns them.
            probe = (
                vectors.pipeline
                | "Probe" >> beam.Create([self.size])
                | "ProbeBatch" >> beam.Map(lambda size: _record_batch([np.zeros((1, size), np.float32)]))
            )
            found, _ = ((probe, config), analyzed) | "ReadConstants" >> tft_beam.TransformDataset(
                output_record_batches=True
            )
        return found | "ToMoments" >> beam.FlatMap(_to_moments)


def _statistics(
    num_buckets: int, max_rank_error: float
) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    def analyze(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # tft.covariance would multiply float32 vectors in float32.
        vectors = tf.cast(inputs[_VECTOR], tf.float64)
        each = {"reduce_instance_dims": False}
        found = {
            _COUNT: tft.size(vectors[:, 0]),
            _SUM: tft.sum(vectors, **each),
            _COVARIANCE: tft.covariance(vectors, tf.float64),
            "minimum": tft.min(vectors, **each),
            "maximum": tft.max(vectors, **each),
            "quantiles": tft.quantiles(vectors, num_buckets, max_rank_error, **each),
            "at_0": tft.sum(tf.cast(tf.equal(vectors, 0), tf.int64), **each),
            "at_255": tft.sum(tf.cast(tf.equal(vectors, 255), tf.int64), **each),
        }
        # A graph's outputs have one value per row, and are never float64.
        num_rows = tf.shape(vectors)[:1]
        return {name: tf.fill(num_rows, tf.io.serialize_tensor(value)) for name, value in found.items()}

    return analyze


def _to_moments(transformed: Any) -> Iterator[Moments]:
    batch, _ = transformed
    found = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        ((serialized,),) = column.to_pylist()
        found[name] = tf.make_ndarray(TensorProto.FromString(serialized))
    count = int(found.pop(_COUNT))
    if count:
        yield Moments.of_sums(count, found.pop(_SUM), found.pop(_COVARIANCE), **found)


def _record_batch(parts: Sequence[np.ndarray]) -> pa.RecordBatch:
    vectors = np.concatenate(parts)
    offsets = np.arange(len(vectors) + 1, dtype=np.int64) * vectors.shape[1]
    column = pa.LargeListArray.from_arrays(offsets, pa.array(vectors.astype(np.float32).ravel()))
    return pa.RecordBatch.from_arrays([column], [_VECTOR])


def _adapter_config(size: int) -> tfxio.TensorAdapterConfig:
    shape = schema_pb2.FixedShape(dim=[schema_pb2.FixedShape.Dim(size=size)])
    dense = schema_pb2.TensorRepresentation.DenseTensor(column_name=_VECTOR, shape=shape)
    return tfxio.TensorAdapterConfig(
        pa.schema([(_VECTOR, pa.large_list(pa.float32()))]),
        {_VECTOR: schema_pb2.TensorRepresentation(dense_tensor=dense)},
    )
