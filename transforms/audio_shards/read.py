"""One reader for each form of shard."""

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from transforms.audio_shards.items import ShardClip, ShardFault
from transforms.audio_shards.read_parquet import read_parquet
from transforms.audio_shards.read_tar import read_tar
from transforms.audio_shards.read_tfrecord import read_tfrecord
from transforms.errors import Reason

# What is known by its first bytes or its name, and not read.
REMEDIES = {
    "zip": "a zip archive, which cannot be read as a stream: unpack it, or pack its files as tar",
    "arrow": "an Arrow file, as save_to_disk of Hugging Face datasets writes it: "
    "load_from_disk(DIR).to_parquet('x.parquet') makes a Parquet file, which is read",
}

READERS: dict[str, Callable[[BinaryIO, Mapping[str, str]], Iterator[ShardClip | ShardFault]]] = {
    "tfrecord": read_tfrecord,
    "tar": read_tar,
    "parquet": read_parquet,
}


def read_shard(kind: str, file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Reads a shard of a kind that `sniff.shard_format` tells; see the readers.

    A kind that is not read is one fault, `unsupported`, with the remedy.
    """
    if kind in REMEDIES:
        return iter([ShardFault(0, Reason.UNSUPPORTED, REMEDIES[kind])])
    return READERS[kind](file, columns)
