"""One reader for each form of shard."""

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from transforms.shards.items import ShardClip, ShardFault
from transforms.shards.parquet import read_parquet
from transforms.shards.tar import read_tar
from transforms.shards.tfrecord import read_tfrecord

READERS: dict[str, Callable[[BinaryIO, Mapping[str, str]], Iterator[ShardClip | ShardFault]]] = {
    "tfrecord": read_tfrecord,
    "tar": read_tar,
    "parquet": read_parquet,
}


def read_shard(kind: str, file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Reads a shard of a kind that `sniff.shard_format` tells; see the readers."""
    return READERS[kind](file, columns)
