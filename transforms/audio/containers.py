"""Audio inside MP4, Matroska, WebM, ASF or bare ADTS to blocks of samples, through PyAV (ffmpeg)."""

import importlib
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.errors import ClipError, Reason

# What `is_container` looks at: the longest ADTS frame (13 bits of length) and the next one's header.
HEAD_BYTES = (1 << 13) + 7

_INSTALL = "is a compressed container; to read it, run pip install 'audioset-beam[containers]'"
_BLOCK_FRAMES = 1 << 18
# An encoder's delay is a few packets; a header can promise millions of empty ones.
_MAX_SILENT_PACKETS = 1_000
_MAX_SHORTFALL_S = 0.5
# ffmpeg states as long a duration after copying an Ogg Vorbis stream whose last packet is cut to nothing.
_OVERFLOWN_FRAMES = (1 << 32) - (1 << 16)
_EINVAL = 22
# ffmpeg's sample formats, packed or planar.
_SAMPLE_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}


def is_container(head: bytes) -> bool:
    """Whether a file is for `ContainerStream`, by its first `HEAD_BYTES` bytes (fewer if it has fewer).

    True for ISO base media with `ftyp` (M4A, MP4, MOV), EBML (WebM, MKV), ASF (WMA) and ADTS AAC, none of
    which libsndfile reads.
    """
    return _demuxer(head) is not None


class ContainerStream:
    """The first audio stream that a container marks as default, or its first; decoded once, front to back.

    Samples are as ffmpeg gives them. Encoder delay that the container states (edit lists, CodecDelay,
    DiscardPadding) is cut off, so that a sample's index over the rate is its time in the source: measured
    with AAC in M4A, and Opus in WebM, exact to the sample (Opus always at 48 kHz). Three things remain:
    AAC keeps its padding after the end, less than one frame of 1024; ADTS has no place to state the delay,
    so AAC from ffmpeg begins 1024 samples late; and ffmpeg takes two frames of delay off every WMA, so that
    one made by ffmpeg's own encoder, whose delay is one frame, begins 512 to 2048 samples early. Gaps
    between timestamps are ignored: samples follow each other.

    Attributes:
      rate_hz: sample rate, any that the codec has.
      channels: number of channels, any that the codec has.
      num_frames: always None, because what containers state is rounded or leaves out the padding.
    """

    rate_hz: int
    channels: int
    num_frames: int | None = None

    def __init__(self, file: BinaryIO):
        """Opens the container and decodes its first frame.

        Args:
          file: seekable, open for reading in binary mode; read from its start, and the caller's to close.

        Raises:
          ClipError: NOT_AUDIO where the container cannot be opened, has no audio or audio of an unknown
            codec, or PyAV is not installed; CORRUPT where the stream is damaged at its start.
        """
        self._av = _import_av()
        file.seek(0)
        head = file.read(HEAD_BYTES)
        demuxer = _demuxer(head)
        if demuxer is None:
            raise ClipError(Reason.NOT_AUDIO, "no container that is known")
        file.seek(0)
        try:
            # A given demuxer, because ffmpeg's own search knows playlists, which open other files.
            self._container = self._av.open(_Readable(file), format=demuxer, metadata_errors="replace")
        except self._av.FFmpegError as error:
            message = f"the container cannot be opened: {_cause(error)}"
            raise ClipError(Reason.NOT_AUDIO, message) from error
        try:
            self._stream = self._choose_stream()
            self._promised_s = self._find_promised_s(demuxer, head)
            self._counts_all_streams = demuxer != "mov"
            self._reached_s = 0.0
            self.rate_hz = self.channels = 0
            self._parts = self._decode()
            # Only a decoded frame tells the truth: HE-AAC's header may state half the rate, or one channel.
            self._first = next(self._parts, None)
            if self._first is None:
                self.rate_hz = self._stream.codec_context.sample_rate or 0
                self.channels = self._stream.codec_context.channels or 0
            if self.rate_hz <= 0 or self.channels <= 0:
                raise ClipError(Reason.NOT_AUDIO, "the audio stream has no sample rate or no channels")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ContainerStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the decoder; the file stays open."""
        self._container.close()

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Yields float64[frames, channels] of about 2**18 frames, the last one shorter; can be read once.

        Integer samples are divided by full scale, exactly (16 bits by 2**15, 24 and 32 bits by 2**31 of
        ffmpeg's left-aligned samples, 8 bits centred); float samples stay as they are, NaN included.

        Raises:
          ClipError: CORRUPT where a packet does not decode, where rate or channels change, or where the
            audio ends more than half a second before the time that its container states.
        """
        parts = [] if self._first is None else [self._first]
        self._first = None
        frames = sum(map(len, parts))
        for part in self._parts:
            parts.append(part)
            frames += len(part)
            if frames >= _BLOCK_FRAMES:
                yield np.concatenate(parts)
                parts, frames = [], 0
        if parts:
            yield np.concatenate(parts)

    def _choose_stream(self) -> Any:
        streams = self._container.streams.audio
        if not streams:
            raise ClipError(Reason.NOT_AUDIO, "the container has no audio stream")
        marked = (stream for stream in streams if stream.disposition & type(stream.disposition).default)
        stream = next(marked, streams[0])
        if stream.codec_context is None:
            raise ClipError(Reason.NOT_AUDIO, "the audio stream has a codec that ffmpeg does not know")
        # Without this a FLAC frame whose checksum is wrong passes.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        return stream

    def _find_promised_s(self, demuxer: str, head: bytes) -> float | None:
        """The time at which the header says that the audio ends; None where ffmpeg would only guess."""
        stream = self._stream
        if demuxer == "mov" and stream.duration is not None:
            return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        # Matroska states one duration for all streams. Where ffmpeg has to guess it, from bit rates, every
        # stream gets the guess.
        states_it = demuxer == "matroska" and any(other.duration is None for other in self._container.streams)
        if states_it and self._container.duration is not None:
            return float(self._container.duration / self._av.time_base)
        if demuxer == "asf":
            return _asf_duration_s(head)
        return None

    def _decode(self) -> Iterator[NDArray[np.float64]]:
        """Yields float64[frames, channels], one for each decoded frame, and sets the rate and channels."""
        frames, silent_packets = 0, 0
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                ours = packet.stream_index == self._stream.index
                decoded = packet.decode() if ours else []
            except self._av.FFmpegError as error:
                raise self._corrupt(frames, f"does not decode: {_cause(error)}") from error
            if packet.pts is not None and (ours or self._counts_all_streams):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._reached_s = max(self._reached_s, float(end))
            silent_packets = 0 if decoded else silent_packets + ours
            if silent_packets > _MAX_SILENT_PACKETS:
                raise self._corrupt(frames, f"{silent_packets} packets without a sample")
            for frame in decoded:
                if not self.rate_hz:
                    self.rate_hz, self.channels = frame.sample_rate, frame.layout.nb_channels
                now = (frame.sample_rate, frame.layout.nb_channels)
                if now != (self.rate_hz, self.channels):
                    raise self._corrupt(frames, "changes to {} Hz and {} channels".format(*now))
                part = _samples(frame)
                frames += len(part)
                yield part
        promised_s = self._promised_s or 0
        is_credible = promised_s * self.rate_hz < _OVERFLOWN_FRAMES
        if is_credible and self._reached_s < promised_s - _MAX_SHORTFALL_S:
            message = f"ends at {self._reached_s:.2f} of {promised_s:.2f} s"
            raise ClipError(Reason.CORRUPT, message)

    def _corrupt(self, frames: int, what: str) -> ClipError:
        return ClipError(Reason.CORRUPT, f"{what}, after {frames / (self.rate_hz or 1):.2f} s")


class _Readable:
    """What ffmpeg may do with a file, and no name, so that it cannot go by that."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._failed = False
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        # PyAV raises the file's error in the end, and prints those of ffmpeg's further attempts.
        if self._failed:
            return b""
        self._failed = True
        data = self._file.read(size)
        self._failed = False
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        # A damaged header can ask for a place before the file; ffmpeg takes a negative answer as a refusal.
        if whence == 0 and offset < 0:
            return -_EINVAL
        return self._file.seek(offset, whence)


def _demuxer(head: bytes) -> str | None:
    """ffmpeg's name of the demuxer for a file with these first bytes."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
        return "asf"
    length = _adts_length(head)
    if length and (len(head) <= length or _adts_length(head[length:])):
        return "aac"
    return None


def _adts_length(head: bytes) -> int:
    """Bytes of the ADTS frame that begins here, or 0: ISO/IEC 13818-7, 6.2. MP3's layer is not 0."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 0xF > 12:
        return 0
    length = (head[3] & 0x3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def _asf_duration_s(head: bytes) -> float | None:
    """What the File Properties Object states (ASF specification, 3.2); ffmpeg's value may be a guess."""
    begin = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if begin < 0 or len(head) < begin + 92:
        return None
    play_100ns, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, begin + 64)
    is_broadcast = flags & 1
    return None if is_broadcast else play_100ns / 1e7 - preroll_ms / 1e3


def _samples(frame: Any) -> NDArray[np.float64]:
    """A decoded frame as float64[frames, channels]."""
    kind = frame.format.name.removesuffix("p")
    if kind not in _SAMPLE_TYPES:
        raise ClipError(Reason.NOT_AUDIO, f"samples of type {frame.format.name} are not known")
    # Not `to_ndarray`: behind eight planes PyAV finds a ninth, at an address that is none, and reads it.
    channels = frame.layout.nb_channels
    num_planes, width = (channels, 1) if frame.format.is_planar else (1, channels)
    planes = frame.planes[:num_planes]
    values = [np.frombuffer(plane, _SAMPLE_TYPES[kind], frame.samples * width) for plane in planes]
    array = np.stack(values, axis=-1).reshape(-1, channels)
    with np.errstate(invalid="ignore"):  # a signalling NaN is the reader's to reject
        samples = np.ascontiguousarray(array, np.float64)
    if kind == "u8":
        return (samples - 2**7) / 2**7
    return samples / {"s16": 2**15, "s32": 2**31}.get(kind, 1)


def _import_av() -> Any:
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise ClipError(Reason.NOT_AUDIO, _INSTALL) from error
    # Nothing, and no Python callback, which can deadlock with ffmpeg's threads.
    av.logging.set_level(None)
    return av


def _cause(error: Any) -> str:
    return (error.strerror or str(error)).splitlines()[0]
