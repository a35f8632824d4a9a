"""Make container files with ffmpeg, and decode them."""

import io
import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from transforms.audio.decode import open_audio
from transforms.errors import ClipError

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
FAST_START = {"movflags": "+faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}


def sweep(rate_hz: int, channels: int, seconds: float = 1.5) -> np.ndarray:
    """Return float64[samples, channels]: a different rising tone per channel, which aligns only one way."""
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    starts_hz = 200 + 70 * np.arange(channels)
    phase = 2 * np.pi * (starts_hz * time_s[:, None] + 300 * time_s[:, None] ** 2)
    if channels >= 6:
        phase[:, 3] = 2 * np.pi * 60 * time_s  # low-frequency effects: codecs drop higher frequencies
    return 0.3 * np.sin(phase)


def as_format(samples: np.ndarray, sample_format: str) -> np.ndarray:
    """Convert samples in [-1, 1) to ffmpeg's types; 24 bits are left-aligned in 32."""
    if sample_format.startswith("s16"):
        return np.round(samples * 2**15).astype(np.int16)
    if sample_format.startswith("s32"):
        return np.round(samples * 2**23).astype(np.int32) << 8
    if sample_format == "u8":
        return np.round(samples * 2**7 + 2**7).astype(np.uint8)
    return samples.astype(np.float32)


def contained(
    tracks: "np.ndarray | list[np.ndarray]",
    rate_hz: int,
    container: str,
    codec: str,
    sample_format: str,
    options: dict[str, str] | None = None,
    video_s: float = 0.0,
    delay_s: float = 0.0,
    default: int = 0,
    pause: tuple[float, float] = (0.0, 0.0),
) -> bytes:
    """Make a file with audio tracks, float64[samples, channels] each, and black video if its length is given.

    The timestamps of the audio begin at `delay_s`, and leave out pause[1] seconds after pause[0].
    """
    if isinstance(tracks, np.ndarray):
        tracks = [tracks]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with av.open(str(path), "w", format=container, options=options or {}) as output:
            video = (
                output.add_stream("libvpx" if container in ("webm", "ogg") else "mpeg4", rate=10)
                if video_s
                else None
            )
            streams = []
            for index, track in enumerate(tracks):
                stream = output.add_stream(codec, rate=rate_hz, layout=LAYOUTS[track.shape[1]])
                stream.codec_context.format = sample_format
                if sample_format.startswith("flt"):
                    stream.bit_rate = (64_000 if codec == "wmav2" else 128_000) * track.shape[1]
                stream.codec_context.open()
                flag = type(stream.disposition).default
                stream.disposition = flag if index == default else type(stream.disposition)(0)
                streams.append(stream)
            if video is not None:
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
                for index in range(round(video_s * 10)):
                    picture = av.VideoFrame(64, 48, "yuv420p")
                    for plane in picture.planes:
                        plane.update(bytes(plane.buffer_size))
                    picture.pts, picture.time_base = index, Fraction(1, 10)
                    output.mux(video.encode(picture))
                output.mux(video.encode(None))
            output.start_encoding()
            for stream, track in zip(streams, tracks, strict=True):
                values = as_format(track, sample_format)
                step = stream.codec_context.frame_size or 1024
                for begin in range(0, len(values), step):
                    part = values[begin : begin + step]
                    part = part.T if sample_format.endswith("p") else part.reshape(1, -1)
                    layout = LAYOUTS[track.shape[1]]
                    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), sample_format, layout)
                    frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
                    later_s = delay_s + (pause[1] if begin >= pause[0] * rate_hz else 0)
                    frame.pts = begin + round(later_s * rate_hz)
                    output.mux(stream.encode(frame))
                output.mux(stream.encode(None))
        return path.read_bytes()


def rewrapped(data: bytes, container: str) -> bytes:
    """Copy a file's packets to another container: PyAV has no libvorbis, but soundfile has."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def frames_of(adts: bytes) -> list[bytes]:
    frames, begin = [], 0
    while begin < len(adts):
        length = (adts[begin + 3] & 3) << 11 | adts[begin + 4] << 3 | adts[begin + 5] >> 5
        frames.append(adts[begin : begin + length])
        begin += length
    return frames


def vorbis(samples: np.ndarray, rate_hz: int, container: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="OGG", subtype="VORBIS")
    return rewrapped(file.getvalue(), container)


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Return float64[samples, channels], and the rate."""
    with open_audio(io.BytesIO(data)) as stream:
        blocks = list(stream.blocks())
        assert all(block.dtype == np.float64 and block.shape[1] == stream.channels for block in blocks)
        return np.concatenate([np.empty((0, stream.channels)), *blocks]), stream.rate_hz


def rejection_of(data: bytes) -> ClipError:
    with pytest.raises(ClipError) as caught:
        decode(data)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def lag(decoded: np.ndarray, source: np.ndarray) -> int:
    """Return by how many samples `decoded` is later than `source`, at the best correlation."""
    size = 2 * max(len(decoded), len(source))
    spectrum = np.fft.rfft(decoded[:, 0], size) * np.fft.rfft(source[:, 0], size).conj()
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best if best < size // 2 else best - size


def error(decoded: np.ndarray, source: np.ndarray, shift: int = 0) -> float:
    """Return the RMS of the difference over that of the source, with `decoded` moved by -`shift` samples."""
    decoded, source = decoded[max(shift, 0) :], source[max(-shift, 0) :]
    length = min(len(decoded), len(source))
    difference = decoded[:length] - source[:length]
    return float(np.sqrt(np.mean(difference**2) / np.mean(source[:length] ** 2)))


M4A = ("ipod", "aac", "fltp")
OPUS = ("webm", "libopus", "flt")
MKV_FLAC = ("matroska", "flac", "s16")
WMA = ("asf", "wmav2", "fltp")


def verbatim_flac(samples: np.ndarray, rate_hz: int, bits: int) -> bytes:
    """Make an uncompressed FLAC of integers, [samples, channels], of 4 or more bits (RFC 9639)."""
    block, channels = 4_096, samples.shape[1]
    fields = (rate_hz << 44) | (channels - 1) << 41 | (bits - 1) << 36 | len(samples)
    stream_info = struct.pack(">HH", block, block) + bytes(6) + fields.to_bytes(8, "big") + bytes(16)
    parts = [b"fLaC\x80", len(stream_info).to_bytes(3, "big"), stream_info]
    for number, begin in enumerate(range(0, len(samples), block)):
        part = samples[begin : begin + block]
        # The block's length follows in 16 bits; the rate and the width are in STREAMINFO.
        head = bytes([0xFF, 0xF8, 0x70, (channels - 1) << 4, number]) + struct.pack(">H", len(part) - 1)
        frame = head + bytes([_crc(head, 8, 0x07)])
        text = "".join(
            "00000010" + "".join(f"{int(value) & (1 << bits) - 1:0{bits}b}" for value in part[:, channel])
            for channel in range(channels)
        )
        text += "0" * (-len(text) % 8)
        frame += int(text, 2).to_bytes(len(text) // 8, "big")
        parts += [frame, struct.pack(">H", _crc(frame, 16, 0x8005))]
    return b"".join(parts)


def _crc(data: bytes, width: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << (width - 1), (1 << width) - 1
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value
