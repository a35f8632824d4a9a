"""Parse MPEG audio frame headers (ISO/IEC 11172-3, 13818-3), and Xing, Info and VBRI frames."""

import functools
import struct
from dataclasses import dataclass

from transforms.printable import counted

HEADER_BYTES = 4
# `parse_info` reads the frame header, a checksum, the side information, Xing's fields and LAME's fields.
INFO_BYTES = 4 + 2 + 32 + 120 + 36
# Free format allows up to 640 kbit/s at 32 kHz. The shortest frame has 8 kbit/s at 24 kHz.
MAX_FRAME_BYTES = 144 * 640_000 // 32_000 + 1
MIN_FREE_BYTES = 24
VBRI_OFFSET = 36

_MPEG1, _MPEG2, _MPEG25 = 3, 2, 0
_LAYER_I, _LAYER_II, _LAYER_III = 3, 2, 1
_RATES_HZ = {
    _MPEG1: (44_100, 48_000, 32_000),
    _MPEG2: (22_050, 24_000, 16_000),
    _MPEG25: (11_025, 12_000, 8_000),
}
# kbit/s by index, starting at 1. Index 0 means free format; 15 is forbidden.
_KBPS = {
    (True, _LAYER_I): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, _LAYER_II): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_III): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_I): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_II): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, _LAYER_III): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HAS_FRAMES, _HAS_BYTES, _HAS_TABLE, _HAS_QUALITY = 1, 2, 4, 8


@dataclass(frozen=True)
class FrameKind:
    """The header fields that all frames of a stream share.

    Attributes:
      version, layer, rate_index: the values of the header's bits.
      is_mono: whether there is one channel; otherwise there are two.
    """

    version: int
    layer: int
    rate_index: int
    is_mono: bool

    @property
    def rate_hz(self) -> int:
        return _RATES_HZ[self.version][self.rate_index]

    @property
    def frame_samples(self) -> int:
        """Samples per channel in one frame."""
        if self.layer == _LAYER_I:
            return 384
        return 576 if self.layer == _LAYER_III and self.version != _MPEG1 else 1_152

    @property
    def slot_bytes(self) -> int:
        """Bytes that the header's padding bit adds to the frame."""
        return 4 if self.layer == _LAYER_I else 1

    def __str__(self) -> str:
        layer = {_LAYER_I: "I", _LAYER_II: "II", _LAYER_III: "III"}[self.layer]
        return f"{self.rate_hz} Hz, {counted(1 if self.is_mono else 2, 'channel')} and layer {layer}"


def parse_header(head: bytes) -> FrameKind | None:
    """Return the kind of the frame that begins with these bytes; None if no frame does."""
    if len(head) < HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, rate_index, emphasis = head[2] >> 4, head[2] >> 2 & 3, head[3] & 3
    if version == 1 or layer == 0 or bit_rate == 15 or rate_index == 3 or emphasis == 2:
        return None
    return FrameKind(version, layer, rate_index, head[3] >> 6 == 3)


@functools.lru_cache(maxsize=64)
def frame_lengths(kind: FrameKind, free_bytes: int = 0) -> tuple[int, ...]:
    """Return the frame length in bytes for each value of the header's third byte; 0 for invalid values.

    Args:
      free_bytes: length of a free-format frame without padding; 0 if free format is not allowed.
    """
    lengths = [0] * 256
    slot = kind.slot_bytes
    slots_per_bit = (12 if kind.layer == _LAYER_I else kind.frame_samples // 8) / kind.rate_hz
    all_kbps = _KBPS[kind.version == _MPEG1, kind.layer]
    for byte in range(256):
        index, padding = byte >> 4, byte >> 1 & 1
        if byte >> 2 & 3 != kind.rate_index or index == 15:
            continue
        if index:
            lengths[byte] = (int(1_000 * all_kbps[index - 1] * slots_per_bit + 1e-9) + padding) * slot
        elif free_bytes:
            lengths[byte] = free_bytes + padding * slot
    return tuple(lengths)


@dataclass(frozen=True)
class InfoFrame:
    """A silent first frame that states the length of the stream.

    A number is None if it is not stated: it is 0 in the file, from an encoder that could not seek back.
    """

    num_frames: int | None  # MPEG frames that follow
    num_bytes: int | None  # of the stream, including this frame
    frames_offset: int | None = None  # of `num_frames` in the frame; None if libsndfile does not read it
    padding_offset: int = 0  # of LAME's 12 bits of delay and 12 bits of padding; zeros from other encoders
    has_name: bool = False  # LAME or ffmpeg wrote the frame


def info_offset(kind: FrameKind) -> int:
    """Return the offset of `Xing` or `Info` in a frame without a checksum: after the side information."""
    if kind.version == _MPEG1:
        return 4 + (17 if kind.is_mono else 32)
    return 4 + (9 if kind.is_mono else 17)


def parse_info(frame: bytes, kind: FrameKind) -> InfoFrame | None:
    """Parse the Xing, Info or VBRI frame that begins with these bytes; None if it is another frame.

    Args:
      frame: the first `INFO_BYTES` bytes of the frame, or fewer at the end of a file.
    """
    if kind.layer != _LAYER_III:
        return None
    if frame[VBRI_OFFSET : VBRI_OFFSET + 4] == b"VBRI" and len(frame) >= VBRI_OFFSET + 18:
        num_bytes, num_frames = struct.unpack_from(">II", frame, VBRI_OFFSET + 10)
        return InfoFrame(num_frames or None, num_bytes or None)
    at = info_offset(kind) + (0 if frame[1] & 1 else 2)
    if frame[at : at + 4] not in (b"Xing", b"Info") or len(frame) < INFO_BYTES:
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    at += 8
    num_frames = num_bytes = frames_offset = None
    if flags & _HAS_FRAMES:
        frames_offset = at
        num_frames = int.from_bytes(frame[at : at + 4], "big") or None
        at += 4
    if flags & _HAS_BYTES:
        num_bytes = int.from_bytes(frame[at : at + 4], "big") or None
        at += 4
    at += (100 if flags & _HAS_TABLE else 0) + (4 if flags & _HAS_QUALITY else 0)
    # LAME's tag, which ffmpeg writes too: a name, and at byte 21 the encoder's delay and padding.
    has_name = frame[at : at + 4] in (b"LAME", b"Lavf", b"Lavc")
    return InfoFrame(num_frames, num_bytes, frames_offset, at + 21, has_name)
