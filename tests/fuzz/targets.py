"""The promises of every parser for any bytes: one function of bytes per parser, which raises if one fails.

Only documented errors, only sound items, and nothing that could name a place outside the output.
"""

import contextlib
import io
import itertools
import re
import struct
from collections.abc import Callable

import numpy as np

from transforms.audio.decode import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, mono_blocks, open_audio
from transforms.audio.parsers.ogg_pages import page_checksum
from transforms.audio.parsers.spliced_file import ByteRange
from transforms.audio.soundfile_stream import find_links
from transforms.audio_shards.decompress import compression_of
from transforms.audio_shards.items import ShardClip, parse_columns
from transforms.audio_shards.read import read_shard
from transforms.audio_shards.sniff import shard_format
from transforms.audioset.check import check_record
from transforms.audioset.example import decode_example, encode_example
from transforms.audioset.labels import read_class_labels
from transforms.audioset.layout import Sharding, check_split, shard_path
from transforms.audioset.segments import Segment, SegmentTable, parse_segments
from transforms.errors import ClipError, Reason, SettingError
from transforms.inputs.input_clips import shard_clips
from transforms.storage.tfrecord import frame_records, read_records

_CLASSES = {"/m/a": 0, "/m/b": 1, "/t/c": 526}
_COLUMNS = parse_columns()
_INT32_MAX = 2**31 - 1
# A few bytes of Parquet or of compressed audio may decode to any length; check only the first part.
_MAX_ROWS = 1_000
_MAX_SAMPLES = 1 << 20
# Decompressed bytes per byte: 45 bytes of bzip2 hold 900 kB, 4 of Zstandard 128 kB.
_DECOMPRESSION_RATIO = 100_000
# One file in one folder: no other separator, no characters that lead elsewhere or that file systems reject.
_SHARD_PATH = re.compile(r"(?P<split>[A-Za-z0-9][\w.-]*)/(?P<name>[^/\\\0]+)\.tfrecord", re.ASCII)


def segments(data: bytes) -> None:
    """A segments CSV, as `read_segments` decodes it."""
    try:
        rows = list(parse_segments(_text(data), "eval", _CLASSES, "a.csv"))
        table = SegmentTable(rows)
    except UnicodeDecodeError:
        return
    except SettingError as error:
        _check_message(str(error))
        return
    assert sorted(table, key=repr) == sorted(rows, key=repr)
    for segment in rows:
        assert segment in table.find(segment.video_id)
        _check_segment(segment)


def labels(data: bytes) -> None:
    """A list of classes."""
    try:
        classes = read_class_labels(_text(data), "a.csv")
    except UnicodeDecodeError:
        return
    except SettingError as error:
        _check_message(str(error))
        return
    assert all(mid and 0 <= index <= _INT32_MAX for mid, index in classes.items())
    assert len(set(classes.values())) == len(classes)


def tar(data: bytes) -> None:
    """A tar as it is, and with corrected checksums of its headers."""
    _check_shard("tar", data)
    _check_shard("tar", _with_tar_checksums(data))


def tfrecord(data: bytes) -> None:
    """A TFRecord with both readers, and the bytes as a record with correct checksums."""
    _check_shard("tfrecord", data)
    _check_shard("tfrecord", frame_records([data]))
    with contextlib.suppress(ValueError):
        assert frame_records(read_records(io.BytesIO(data))) == data


def parquet(data: bytes) -> None:
    """A Parquet file."""
    _check_shard("parquet", data)


def audio(data: bytes) -> None:
    """A file that libsndfile reads, unless it begins as a container."""
    _check_audio(data)
    _check_links(data)


def mpeg(data: bytes) -> None:
    """An MP3, by its frames."""
    _check_audio(data)
    _check_links(data)


def ogg(data: bytes) -> None:
    """An Ogg file as it is, and with corrected checksums of its pages."""
    _check_audio(data)
    _check_audio(_with_ogg_checksums(data))
    _check_links(_with_ogg_checksums(data))


def container(data: bytes) -> None:
    """A file that ffmpeg reads, unless it does not begin as a container."""
    _check_audio(data)


def example(data: bytes) -> None:
    """A SequenceExample: its check never raises, and a decoded record can be encoded to the same values."""
    checked = check_record(data, split="eval")
    for problem in checked.problems:
        _check_message(problem)
    try:
        segment, frames = decode_example(data, "eval")
    except ValueError:
        assert checked.problems, "a sound record must decode"
        return
    if not checked.problems:
        assert checked.segment == segment and checked.num_frames == len(frames)
        _check_place(segment)
    record = encode_example(segment, frames)
    # Compare bytes, because NaN differs from itself; a frame without a value has no kind.
    assert not frames.size or encode_example(*decode_example(record, "eval")) == record


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (segments, labels, tar, tfrecord, parquet, audio, mpeg, ogg, container, example)
}


def _text(data: bytes) -> io.StringIO:
    return io.StringIO(data.decode("utf-8-sig"), newline="")


def _check_shard(kind: str, data: bytes) -> None:
    assert shard_format("a", data[:4096]) in ("audio", "tfrecord", "tar", "parquet", "zip", "arrow")
    most_bytes = len(data) * (_DECOMPRESSION_RATIO if compression_of(data) else 1)
    items = list(itertools.islice(read_shard(kind, io.BytesIO(data), _COLUMNS), _MAX_ROWS))
    # Bytes that are not a TFRecord are a fault; only gzip data can decompress to nothing.
    assert items or not data or kind != "tfrecord" or compression_of(data)
    offsets = [item.offset for item in items]
    if kind == "parquet":
        assert all(offset >= 0 for offset in offsets)
    else:
        assert all(0 <= offset <= most_bytes for offset in offsets)
        # All links to a file share its bytes.
        audio = {id(item.audio): len(item.audio) for item in items if isinstance(item, ShardClip)}
        assert sum(audio.values()) <= most_bytes
    for item in items:
        if isinstance(item, ShardClip):
            _check_clip(item)
            continue
        assert item.reason in (Reason.BAD_RECORD, Reason.TRUNCATED_SHARD)
        assert item.reason is Reason.BAD_RECORD or item is items[-1]
        assert item.video_id is None or item.video_id.encode()
        _check_message(item.message)


def _check_clip(item: ShardClip) -> None:
    """Check that a clip is valid, and that a run accepts it or gives a reason."""
    assert isinstance(item.video_id, str) and item.video_id.encode() and isinstance(item.audio, bytes)
    start_s, end_s = item.start_s or 0.0, item.end_s
    assert start_s >= 0 and (end_s is None or start_s < end_s)
    try:
        clips = shard_clips("a", item, "eval", None, _CLASSES)
        shard_clips("a", item, "eval", SegmentTable([Segment("eval", item.video_id, 0.0, 1.0)]), _CLASSES)
    except ClipError as error:
        _check_message(str(error))
        return
    for clip in clips:
        last_s = clip.start_s + 1 if clip.end_s is None else clip.end_s
        _check_segment(Segment(clip.split, clip.video_id, clip.start_s, last_s, clip.labels))


def _check_audio(data: bytes) -> None:
    try:
        with open_audio(io.BytesIO(data)) as stream:
            assert MIN_RATE_HZ <= stream.rate_hz <= MAX_RATE_HZ and 1 <= stream.channels <= MAX_CHANNELS
            assert stream.num_frames is None or stream.num_frames >= 0
            num_samples = 0
            for block in mono_blocks(stream):
                assert block.ndim == 1 and block.dtype in (np.float32, np.float64)
                num_samples += len(block)
                if num_samples > _MAX_SAMPLES:
                    break
    except ClipError as error:
        _check_message(str(error))


def _check_links(data: bytes) -> None:
    """Check that all byte ranges to decode are inside the file and ascend."""
    try:
        links = find_links(io.BytesIO(data))
    except ClipError as error:
        assert error.reason in (Reason.CORRUPT, Reason.NOT_AUDIO)
        _check_message(str(error))
        return
    assert links
    for link in links:
        assert link.num_frames is None or link.num_frames >= 0
        ranges = [piece for piece in link.pieces or () if isinstance(piece, ByteRange)]
        assert all(0 <= stretch.begin <= stretch.end <= len(data) for stretch in ranges)
        ends = [0, *(stretch.end for stretch in ranges)]
        assert all(end <= stretch.begin for end, stretch in zip(ends, ranges, strict=False))


def _check_segment(segment: Segment) -> None:
    """Check that a segment has a key, a path in the output, and a record with its values."""
    assert segment.video_id and 0 <= segment.start_s < segment.end_s
    assert list(segment.labels) == sorted(set(segment.labels)) and all(
        0 <= label <= _INT32_MAX for label in segment.labels
    )
    assert 0 <= segment.key[2] < 2**63
    _check_place(segment)
    checked = check_record(encode_example(segment, np.zeros((1, 128), np.uint8)))
    # Times that differ only in float64 are equal in a record, which is a problem of the record.
    if checked.segment is None:
        assert np.float32(segment.start_s) >= np.float32(segment.end_s)
    else:
        assert checked.segment.video_id == segment.video_id


def _check_place(segment: Segment) -> None:
    for sharding in (Sharding(), Sharding(10)):
        path = shard_path(segment.split, sharding.shard_name(segment.split, segment.video_id))
        match = _SHARD_PATH.fullmatch(path)
        assert match and match["split"] == check_split(segment.split) and len(path.encode()) < 200, path


def _check_message(message: str) -> None:
    """Check that a message is one line that can be encoded."""
    assert message.encode() and len(message.splitlines()) == 1, message


def _with_ogg_checksums(data: bytes) -> bytes:
    """Correct the checksum of all bytes that look like a page."""
    parts = data.split(b"OggS")
    for number, part in enumerate(parts[1:], 1):
        page = b"OggS" + part
        length = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else 0
        if 0 < length <= len(page):
            checksum = struct.pack("<I", page_checksum(page[:length]))
            parts[number] = page[4:22] + checksum + page[26:]
    return b"OggS".join(parts)


def _with_tar_checksums(data: bytes) -> bytes:
    """Correct the checksum of each block that looks like a header; no mutation would find it by chance."""
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    for number, block in enumerate(blocks):
        if block[257:262] == b"ustar" and len(block) == 512:
            checksum = sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")
            blocks[number] = block[:148] + b"%06o\0 " % checksum + block[156:]
    return b"".join(blocks)
