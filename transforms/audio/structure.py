"""Find out from a container's structure whether the file is cut off, which demuxers do not report."""

import struct
from typing import BinaryIO, NamedTuple

from transforms.audio.formats import HEAD_BYTES, Format, transport_packets

_MAX_BOXES = 1 << 20
_DATA_BOXES = (b"moov", b"moof", b"mdat")
_FLV_TAG_BYTES = 11
_UNKNOWN_BYTES = (1 << 32) - 1
# The last PES packet of audio is searched here, which is some seconds of high-definition video.
_TAIL_BYTES = 1 << 23


class Structure(NamedTuple):
    """The structure of a container's file.

    Attributes:
      is_fragmented: whether an MP4 has fragments.
      cut_off: the evidence that the file is cut off, or "".
    """

    is_fragmented: bool
    cut_off: str


def read_structure(fmt: Format, file: BinaryIO, size: int, stream_id: int) -> Structure:
    """Read a few bytes in each part of a file of `size` bytes.

    Args:
      fmt: the file's format.
      file: seekable, open in binary mode; its position changes.
      size: its size in bytes.
      stream_id: in a transport stream, the packet identifier of the audio.
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
