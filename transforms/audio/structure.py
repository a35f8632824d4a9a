"""Read what a container states about its length, and whether the file is cut off.

ffmpeg does not report the latter, and only estimates some lengths, which are not used here.
"""

import struct
from typing import Any, BinaryIO, NamedTuple

from transforms.audio.formats import HEAD_BYTES, Format, transport_packets

# ffmpeg states such a duration after it copied an Ogg Vorbis stream whose last packet is cut to nothing.
_OVERFLOWN_FRAMES = (1 << 32) - (1 << 16)
_MICROSECONDS = 1_000_000
_MAX_BOXES = 1 << 20
_DATA_BOXES = (b"moov", b"moof", b"mdat")
_FLV_TAG_BYTES = 11
_UNKNOWN_BYTES = (1 << 32) - 1
# The last PES packet of audio is searched here, which is some seconds of high-definition video.
_TAIL_BYTES = 1 << 23


class Structure(NamedTuple):
    """Whether an MP4 has fragments, and the evidence that the file is cut off, or ""."""

    is_fragmented: bool
    cut_off: str


def read_structure(fmt: Format, file: BinaryIO, size: int, stream_id: int) -> Structure:
    """Read a few bytes in each part of a file of `size` bytes.

    In a transport stream, the audio's packets have the identifier `stream_id`.
    """
    match fmt.demuxer:
        case "mov":
            return _read_boxes(file, size)
        case "flv":
            return Structure(False, _flv_cut_off(file, size))
        case "avi":
            return Structure(False, _avi_cut_off(file, size))
        case "mpegts":
            return Structure(False, _transport_cut_off(file, size, stream_id))
    return Structure(False, "")


def _read_boxes(file: BinaryIO, size: int) -> Structure:
    """Walk over the boxes of an MP4 (ISO/IEC 14496-12, 4.2)."""
    position, is_fragmented = 0, False
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        if len(header) < 8 or length < 8:  # length 0: the last box, which ends with the file
            break
        is_fragmented = is_fragmented or kind == b"moof"
        position += length
        if position > size:
            # Anything may follow the audio's boxes, such as a tag.
            if kind not in _DATA_BOXES:
                break
            cut_off = f"the {kind.decode()} box ends at byte {position} of {size}: the file is cut off"
            return Structure(is_fragmented, cut_off)
    return Structure(is_fragmented, "")


def _avi_cut_off(file: BinaryIO, size: int) -> str:
    """Look for a list of packets that extends beyond the file; files over 1 GB have several (OpenDML)."""
    position = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        kind, length, name = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        if kind == b"RIFF":
            position += 12  # to the chunks inside
            continue
        end = position + 8 + length
        if kind == b"LIST" and name == b"movi":
            if end > size and length != _UNKNOWN_BYTES:
                return f"the list of packets ends at byte {end} of {size}: the file is cut off"
            if not length:  # the recorder was killed
                break
        position = end + end % 2
        if position >= size:
            break
    return ""


def _flv_cut_off(file: BinaryIO, size: int) -> str:
    """Compare the two length fields before and after the last tag (FLV specification 10.1, E.3)."""
    file.seek(max(size - 4, 0))
    length = int.from_bytes(file.read(4), "big")
    begin = size - 4 - length
    if length >= _FLV_TAG_BYTES and begin >= 9:
        file.seek(begin)
        tag = file.read(_FLV_TAG_BYTES)
        if int.from_bytes(tag[1:4], "big") == length - _FLV_TAG_BYTES:
            return ""
    return "the last tag is cut off"


def _transport_cut_off(file: BinaryIO, size: int, pid: int) -> str:
    """Check whether the file ends within a packet or within a stream's last PES packet.

    A PES packet states its length (ISO/IEC 13818-1, 2.4.3.6).
    """
    file.seek(0)
    packet_bytes, sync = transport_packets(file.read(HEAD_BYTES)) or (188, 0)
    if size % packet_bytes:
        return f"the last packet has {size % packet_bytes} of {packet_bytes} bytes: the file is cut off"
    first = max(size - _TAIL_BYTES, 0) // packet_bytes * packet_bytes
    file.seek(first)
    tail = file.read(size - first)
    stated_bytes, found_bytes = 0, 0
    for begin in range(sync, len(tail), packet_bytes):
        packet = tail[begin : begin + 188]
        if len(packet) < 4 or packet[0] != 0x47 or (packet[1] & 0x1F) << 8 | packet[2] != pid:
            continue
        # The header's flags 0x20 and 0x10: an adaptation field comes first; there is a payload.
        begin_payload = 5 + packet[4] if packet[3] & 0x20 and len(packet) > 4 else 4
        payload = packet[begin_payload:] if packet[3] & 0x10 else b""
        if packet[1] & 0x40 and payload.startswith(b"\0\0\1") and len(payload) >= 6:
            length = struct.unpack_from(">H", payload, 4)[0]
            stated_bytes, found_bytes = (length + 6 if length else 0), 0  # 0: not stated
        found_bytes += len(payload)
    if found_bytes < stated_bytes:
        return f"the last PES packet has {found_bytes} of {stated_bytes} bytes: the file is cut off"
    return ""


def stated_end_s(fmt: Format, container: Any, stream: Any, head: bytes, is_fragmented: bool) -> float | None:
    """Return the time at which the audio ends as the header states, in the container's own time.

    Args:
      fmt: the file's format.
      container, stream: PyAV's objects, read to the end, since the index of a fragmented MP4 grows meanwhile.
      head: the file's first bytes.
      is_fragmented: whether an MP4 has fragments, from `read_structure`.

    Returns:
      None if no length is stated, or if ffmpeg would estimate it from bit rates and sizes.
    """
    start_s = float((stream.start_time or 0) * stream.time_base)
    end_s = None
    match fmt.demuxer:
        case "mov" if stream.duration is not None:
            # For fragments, ffmpeg states the end of the last one instead of the length.
            end_s = float(stream.duration * stream.time_base) + (0 if is_fragmented else start_s)
        case "matroska" if container.duration is not None:
            # If the header states no duration, ffmpeg estimates one for every stream. It also copies that of
            # the header to a stream without any packet, which has no start.
            if stream.start_time is None or any(other.duration is None for other in container.streams):
                end_s = container.duration / _MICROSECONDS
                # ffmpeg writes the end time, others the length. A value before the start must be a length.
                end_s += start_s if end_s < start_s else 0
        case "asf":
            end_s = _asf_duration_s(head)
        case "flv" if b"duration\0" in head and container.duration is not None:
            end_s = container.duration / _MICROSECONDS
        case "ogg" if stream.duration is not None:
            end_s = start_s + float(stream.duration * stream.time_base)
        case "avi" if stream.frames:
            end_s = float(stream.frames * stream.time_base)
    rate_hz = stream.codec_context.sample_rate or 0
    return None if end_s is not None and end_s * rate_hz >= _OVERFLOWN_FRAMES else end_s


def stated_frames(fmt: Format, head: bytes) -> int | None:
    """Return the samples per channel that the head of a lossless stream states; None if it does not."""
    if fmt.demuxer == "flac" and len(head) >= 26:  # RFC 9639, 8.2: the last 36 bits before the MD5
        return int.from_bytes(head[21:26], "big") & (1 << 36) - 1 or None
    if fmt.demuxer == "wv" and len(head) >= 20:  # WavPack 4 & 5 file format, the block header
        high, low = head[11], int.from_bytes(head[12:16], "little")
        index = int.from_bytes(head[16:20], "little") | head[10] << 32
        return None if low == 0xFFFFFFFF or index else (high << 32 | low) - high
    return None


def first_frame_offset(fmt: Format, head: bytes) -> int:
    """Return the offset of the first frame of a contiguous format: after AMR's first line (RFC 4867, 5.1)."""
    return head.index(b"\n") + 1 if fmt.demuxer == "amr" else 0


def _asf_duration_s(head: bytes) -> float | None:
    """Return the duration in the File Properties Object (ASF specification, 3.2); ffmpeg may estimate it."""
    begin = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if begin < 0 or len(head) < begin + 92:
        return None
    play_100ns, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, begin + 64)
    is_broadcast = flags & 1
    return None if is_broadcast else play_100ns / 1e7 - preroll_ms / 1e3
