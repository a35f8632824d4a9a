"""Which form a file of a corpus has: audio, a shard of one kind, or an archive that is not read."""

import re

from transforms.audio_shards.marks import HEAD_BYTES, has_mark
from transforms.audio_shards.read_tfrecord import is_record_header
from transforms.audio_shards.tar_members import read_header
from transforms.audio_shards.unpack import GZIP, packing, unpack_head

_NAMES = (
    ("tfrecord", r"\.tfrec(ords?)?(-\d+-of-\d+)?(\.gz)?"),
    ("tar", r"\.(tar(\.(gz|bz2|xz|zst|zstd))?|tgz|tbz2?|txz|tzst)"),
    ("parquet", r"\.(parquet|pq)"),
    ("zip", r"\.zip"),
    ("arrow", r"\.(arrow|feather)"),
)
_ZIP = re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")
# An IPC file; or an IPC stream: the mark of a message, and the length of its metadata, which are padded to 8.
_ARROW = re.compile(rb"ARROW1\0\0|\xff\xff\xff\xff[\x00\x08\x10-\xf8].[\x00-\x0f]\0", re.DOTALL)


def shard_format(path: str, head: bytes) -> str:
    """Tells a file's form by its first bytes, and by its name where these do not decide.

    Args:
      path: the file's.
      head: its first 4096 bytes, or all that it has, as they are.

    Returns:
      "audio", "tfrecord", "tar" or "parquet"; or "zip" or "arrow", which `read_shard` rejects with a remedy.
      What is neither known nor named as a shard is "audio": the decoder says what is wrong with it.
    """
    head = head[:HEAD_BYTES]
    return _by_content(head) or _by_name(path) or "audio"


def _by_content(head: bytes) -> str | None:
    if is_record_header(head):  # first: a record's length may begin as packed data do
        return "tfrecord"
    name = packing(head)
    if name:
        return _by_packed_content(name, head)
    if head.startswith(b"PAR1"):
        return "parquet"
    # Before audio, since a tar begins with its first member's name, as riff.wav. The checksum is right for
    # nothing else.
    if len(head) >= 512 and read_header(head[:512]):
        return "tar"
    if has_mark(head):
        return "audio"
    if _ZIP.match(head):
        return "zip"
    if _ARROW.match(head):
        return "arrow"
    # The mark stays where the rest of a header is damaged.
    return "tar" if len(head) >= 512 and head[257:262] == b"ustar" else None


def _by_packed_content(name: str, head: bytes) -> str | None:
    unpacked = unpack_head(name, head, HEAD_BYTES)
    if name != GZIP and not unpacked:
        return "tar"  # the first block needs more than the head; a tar, if it is anything that is read
    kind = None if packing(unpacked) else _by_content(unpacked)
    # A packed Parquet or audio file is nothing that a reader here unpacks, nor a TFRecord that is not gzip.
    return kind if kind == "tar" or (kind == "tfrecord" and name == GZIP) else None


def _by_name(path: str) -> str | None:
    name = re.split(r"[/\\]", path)[-1]
    for kind, ending in _NAMES:
        if re.search(rf"(?:{ending})\Z", name, re.IGNORECASE):
            return kind
    return None
