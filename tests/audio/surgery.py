"""Take files for libsndfile apart, and assemble them in other ways."""

import io
import struct

import numpy as np
import pytest
import soundfile

from transforms.audio.decode import duration_s, open_audio
from transforms.audio.parsers.mpeg_header import frame_lengths, parse_header
from transforms.audio.parsers.ogg_pages import page_checksum
from transforms.errors import ClipError, Reason

ID3V1 = b"TAG" + bytes(125)
ID3V2 = b"ID3\4\0\0\0\0\1\x0a" + bytes(138)
APE = b"".join(
    struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 64, 0, flags) + body
    for flags, body in ((0xA0000000, bytes(32)), (0x80000000, b""))
)


def encoded(samples, rate_hz: int = 44_100, container: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def noise(num_frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (num_frames, channels))


def samples_of(data: bytes) -> np.ndarray:
    """Decode to [frames, channels], and check the number of frames in the header."""
    file = io.BytesIO(data)
    with open_audio(file) as stream:
        blocks = list(stream.blocks())
        samples = np.concatenate(
            [np.empty((0, stream.channels), blocks[0].dtype if blocks else float), *blocks]
        )
        assert stream.num_frames in (None, len(samples))
        assert duration_s(file) == len(samples) / stream.rate_hz
    return samples


def rate_of(data: bytes) -> int:
    with open_audio(io.BytesIO(data)) as stream:
        return stream.rate_hz


def message_of(data: bytes, reason: Reason = Reason.CORRUPT) -> str:
    """Return the message with which a file is rejected for a reason."""
    with pytest.raises(ClipError) as caught:
        samples_of(data)
    assert caught.value.reason is reason, caught.value
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def mp3_frames(data: bytes) -> list[bytes]:
    """Return the frames of an MP3 without tags; the Info frame is the first."""
    frames, place = [], 0
    while place < len(data):
        length = frame_lengths(parse_header(data[place : place + 4]))[data[place + 2]]
        frames.append(data[place : place + length])
        place += length
    return frames


def with_number(info_frame: bytes, num_frames: int) -> bytes:
    """Return an Info frame with another number of frames."""
    place = max(info_frame.find(b"Info"), info_frame.find(b"Xing")) + 8
    return info_frame[:place] + struct.pack(">I", num_frames) + info_frame[place + 4 :]


def ogg_pages(data: bytes) -> list[bytes]:
    pages, place = [], 0
    while place < len(data):
        assert data[place : place + 4] == b"OggS"
        length = 27 + data[place + 26] + sum(data[place + 27 : place + 27 + data[place + 26]])
        pages.append(data[place : place + length])
        place += length
    return pages


def with_checksum(page: bytes) -> bytes:
    return page[:22] + struct.pack("<I", page_checksum(page)) + page[26:]


def numbered(pages: list[bytes]) -> bytes:
    """Return the pages with consecutive sequence numbers and correct checksums."""
    return b"".join(
        with_checksum(page[:18] + struct.pack("<I", number) + page[22:]) for number, page in enumerate(pages)
    )


SAMPLES = np.arange(1_000, dtype=np.int16)[:, np.newaxis]
# Chunk name; offset of the size from it; struct format of the size; bytes that it counts besides samples.
SIZES = {
    "WAV": (b"data", 4, "<I", 0),
    "RIFX": (b"data", 4, ">I", 0),
    "RF64": (b"ds64", 16, "<Q", 0),
    "W64": (b"data\xf3\xac", 16, "<Q", 24),
    "AIFF": (b"SSND", 4, ">I", 8),
    "AU": (b".snd", 8, ">I", 0),
    "CAF": (b"data", 4, ">q", 4),
}


def made(form: str, samples=SAMPLES, subtype: str = "PCM_16") -> bytes:
    if form != "RIFX":
        return encoded(samples, 16_000, form, subtype)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype=subtype, endian="BIG")
    return file.getvalue()


def with_size(data: bytes, form: str, num_bytes: int, riff_bytes: int | None = None) -> bytes:
    """Return the file with other stated lengths."""
    name, offset, kind, more = SIZES[form]
    changed = bytearray(data)
    struct.pack_into(kind, changed, data.index(name) + offset, num_bytes + more)
    if riff_bytes is not None:
        struct.pack_into("<I", changed, 4, riff_bytes)
    return bytes(changed)
