"""Reads a shard with the reader of its format."""

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from transforms.audio_shards.items import ShardClip, ShardFault
from transforms.audio_shards.read_parquet import read_parquet
from transforms.audio_shards.read_tar import read_tar
from transforms.audio_shards.read_tfrecord import read_tfrecord
from transforms.errors import Reason

# Formats that are recognized but not supported -> what the user can do.
REMEDIES = {
    "zip": "a zip archive, which cannot be read as a stream: extract it, or pack its files into a tar",
    "arrow": "an Arrow file, the output of save_to_disk in Hugging Face datasets, is not supported: "
    "convert it to Parquet with load_from_disk(DIR).to_parquet('x.parquet')",
}

READERS: dict[str, Callable[[BinaryIO, Mapping[str, str]], Iterator[ShardClip | ShardFault]]] = {
    "tfrecord": read_tfrecord,
    "tar": read_tar,
    "parquet": read_parquet,
}


def read_shard(kind: str, file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Read a shard of a kind that `sniff.shard_format` returns; see the readers in READERS.

    An unsupported kind yields one fault, `unsupported`, with the remedy.
    """
    if kind in REMEDIES:
        return iter([ShardFault(0, Reason.UNSUPPORTED, REMEDIES[kind])])
    return READERS[kind](file, columns)
