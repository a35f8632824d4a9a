"""Detects a file's format: audio, a kind of shard, or an archive that is not supported."""

import re

from transforms.audio_shards.decompress import GZIP, compression_of, decompress_head
from transforms.audio_shards.read_tfrecord import is_record_header
from transforms.audio_shards.signatures import HEAD_BYTES, has_signature
from transforms.audio_shards.tar_members import read_header

_NAMES = (
    ("tfrecord", r"\.tfrec(ords?)?(-\d+-of-\d+)?(\.gz)?"),
    ("tar", r"\.(tar(\.(gz|bz2|xz|zst|zstd))?|tgz|tbz2?|txz|tzst)"),
    ("parquet", r"\.(parquet|pq)"),
    ("zip", r"\.zip"),
    ("arrow", r"\.(arrow|feather)"),
)
_ZIP = re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")
# An Arrow IPC file; or an IPC stream: a message's marker, and the metadata length, a multiple of 8.
_ARROW = re.compile(rb"ARROW1\0\0|\xff\xff\xff\xff[\x00\x08\x10-\xf8].[\x00-\x0f]\0", re.DOTALL)


def shard_format(path: str, head: bytes) -> str:
    """Detect a file's format from its first bytes, or from its name if these do not decide.

    Args:
      head: the file's first 4096 bytes, or the whole file if it is shorter, not decompressed.

    Returns:
      "audio", "tfrecord", "tar" or "parquet"; or "zip" or "arrow", which `read_shard` rejects with a remedy.
      An unknown file is "audio" unless its name is a shard's; the decoder then reports what is wrong with it.
    """
    head = head[:HEAD_BYTES]
    return _by_content(head) or _by_name(path) or "audio"


def _by_content(head: bytes) -> str | None:
    if is_record_header(head):  # first: a record's length may look like the signature of compressed data
        return "tfrecord"
    compression = compression_of(head)
    if compression:
        return _by_compressed_content(compression, head)
    if head.startswith(b"PAR1"):
        return "parquet"
    # Before audio: a tar begins with the name of its first member, such as riff.wav. Only a tar header has a
    # matching checksum.
    if len(head) >= 512 and read_header(head[:512]):
        return "tar"
    if has_signature(head):
        return "audio"
    if _ZIP.match(head):
        return "zip"
    if _ARROW.match(head):
        return "arrow"
    # The signature may be intact although the rest of the header is damaged.
    return "tar" if len(head) >= 512 and head[257:262] == b"ustar" else None


def _by_compressed_content(compression: str, head: bytes) -> str | None:
    content = decompress_head(compression, head, HEAD_BYTES)
    if compression != GZIP and not content:
        return "tar"  # the first block is longer than the head; only a tar can have this compression
    kind = None if compression_of(content) else _by_content(content)
    # No reader decompresses whole Parquet or audio files, and TFRecords are decompressed from gzip only.
    return kind if kind == "tar" or (kind == "tfrecord" and compression == GZIP) else None


def _by_name(path: str) -> str | None:
    name = re.split(r"[/\\]", path)[-1]
    matches = (kind for kind, ending in _NAMES if re.search(rf"(?:{ending})\Z", name, re.IGNORECASE))
    return next(matches, None)
