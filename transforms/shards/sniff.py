"""Which form a file of a corpus has: audio, or a shard of one kind."""

import re
import zlib

from transforms.shards.stream import GZIP_MAGIC
from transforms.shards.tar_members import read_header
from transforms.shards.tfrecord import is_record_header

_HEAD_BYTES = 4096
# Containers that begin with a mark of their own; MP3 and AAC frames do not, and are told by name.
_AUDIO = re.compile(
    rb"RIFF....WAVE|RF64....WAVE|riff|FORM....AIF|fLaC|OggS|caff|\.snd|ID3|....ftyp|\x1aE\xdf\xa3|0&\xb2u\x8ef\xcf",
    re.DOTALL,
)
_NAMES = (
    ("tfrecord", re.compile(r"\.tfrec(ords?)?(-\d+-of-\d+)?(\.gz)?", re.IGNORECASE)),
    ("tar", re.compile(r"\.(tar|tgz|tar\.gz)", re.IGNORECASE)),
    ("parquet", re.compile(r"\.(parquet|pq)", re.IGNORECASE)),
)


def shard_format(path: str, head: bytes) -> str:
    """Tells a file's form by its first bytes, and by its name where these do not decide.

    Args:
      path: the file's.
      head: its first 4096 bytes, or all that it has, as they are.

    Returns:
      "audio", "tfrecord", "tar" or "parquet". What is neither known nor named as a shard is "audio": the
      decoder says what is wrong with it.
    """
    return _by_content(head[:_HEAD_BYTES]) or _by_name(path) or "audio"


def _by_content(head: bytes) -> str | None:
    if is_record_header(head):  # first: a record's length may begin as gzip does
        return "tfrecord"
    if head.startswith(GZIP_MAGIC):
        return _by_packed_content(head)
    if head.startswith(b"PAR1"):
        return "parquet"
    if _AUDIO.match(head):
        return "audio"
    # The checksum is right for nothing else; the mark stays where the rest of a header is damaged.
    if len(head) >= 512 and (read_header(head[:512]) or head[257:262] == b"ustar"):
        return "tar"
    return None


def _by_packed_content(head: bytes) -> str | None:
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return None
    kind = None if unpacked.startswith(GZIP_MAGIC) else _by_content(unpacked)
    # A gzip Parquet or audio file is nothing that a reader here unpacks.
    return kind if kind in ("tfrecord", "tar") else None


def _by_name(path: str) -> str | None:
    name = re.split(r"[/\\]", path)[-1]
    for kind, ending in _NAMES:
        if re.search(rf"(?:{ending.pattern})\Z", name, re.IGNORECASE):
            return kind
    return None
