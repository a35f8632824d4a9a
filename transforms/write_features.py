"""Embeddings to shard files in the release's layout."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems

from transforms.audioset.example import encode_example
from transforms.audioset.layout import shard_path, shard_prefix
from transforms.audioset.segments import Segment
from transforms.audioset.tfrecord import frame_records
from transforms.files import put_file

Shard = tuple[str, str]  # split, prefix
Record = tuple[tuple[str, int], bytes]  # (video id, start in ms), record


def shard_record(
    element: tuple[Segment, np.ndarray],
) -> tuple[Shard, Record]:
    """A segment and its frames -> its shard and its record, with what records are sorted by."""
    segment, frames = element
    split, video_id, start_ms = segment.key
    shard = split, shard_prefix(video_id)
    return shard, ((video_id, start_ms), encode_example(segment, frames))


@dataclass
class WriteFeatures(beam.PTransform):
    """(Segment, uint8[n, 128] or float32[n, 128]) -> one file a prefix -> (split, records), a shard each.

    Records stand in a shard by id and start time, so that its bytes depend on nothing but the clips.

    Attributes:
      output: the feature folder.
    """

    output: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, frames: beam.PCollection) -> beam.PCollection[tuple[str, int]]:
        return (
            frames
            | "EncodeRecords" >> beam.Map(shard_record)
            # (Shard, Record): 1.3 kB for ten seconds, all that is shuffled of a clip's features
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShards" >> beam.ParDo(_WriteShard(self.output))
        )


class _WriteShard(beam.DoFn):
    def __init__(self, output: str):
        self._output = output

    def process(self, element: tuple[Shard, Iterable[Record]]) -> Iterator[tuple[str, int]]:
        (split, prefix), records = element
        ordered = [record for _, record in sorted(records)]
        put_file(
            FileSystems.join(self._output, *shard_path(split, prefix).split("/")),
            frame_records(ordered),
        )
        yield split, len(ordered)
