"""Decode audio in the containers that ffmpeg reads, through PyAV, to blocks of samples."""

import importlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.audio.formats import Format
from transforms.audio.structure import first_frame_offset, read_structure, stated_end_s, stated_frames
from transforms.audio.timeline import Timeline
from transforms.errors import ClipError, Reason
from transforms.printable import counted

_BLOCK_FRAMES = 1 << 18
# An encoder's delay takes a few packets, but a damaged header can state millions of empty ones.
_MAX_SILENT_PACKETS = 1_000
_HEAD_BYTES = 1 << 13
_EINVAL = 22
# ffmpeg's sample formats, packed or planar.
_SAMPLE_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}


class ContainerStream:
    """The audio stream that a container marks as default, or else its first one.

    The stream is decoded once, front to back, and samples are those of ffmpeg. Encoder delay that the
    container states (edit lists, CodecDelay, DiscardPadding) is removed, so sample index divided by rate is
    the time in the source. Measurements of AAC in M4A and Opus in WebM (always 48 kHz) confirm this to the
    sample. There are three exceptions:

    - AAC keeps the padding at its end, less than one frame of 1024 samples.
    - ADTS cannot state the delay, so AAC from ffmpeg begins 1024 samples late.
    - ffmpeg removes two frames of delay from every WMA. Its own WMA encoder has a delay of one frame, so such
      files begin 512 to 2048 samples early.

    If the audio begins later than the video next to it, silence comes first, so that times are those of the
    container. `Timeline` defines what is late and what is a gap.

    Attributes:
      rate_hz: sample rate; any that the codec supports.
      channels: number of channels; any that the codec supports.
      num_frames: always None, because the lengths in containers are rounded or exclude the padding.
    """

    rate_hz: int
    channels: int
    num_frames: int | None = None

    def __init__(self, file: BinaryIO, fmt: Format):
        """Open the container and decode its first frame.

        Args:
          file: seekable, open for reading in binary mode; read from its start. The caller closes it. For a
            contiguous format (`Format.is_contiguous`), it holds frames and nothing else.
          fmt: the file's format, which has a demuxer.

        Raises:
          ClipError: NOT_AUDIO if the container cannot be opened, or has no audio or an unknown audio codec;
            CORRUPT if the stream is damaged at its start.
          ImportError: PyAV is missing or broken.
        """
        # Imported only when needed: it takes 0.1 s and 35 MB, which libsndfile's formats do not need.
        self._av = importlib.import_module("av")
        # No messages, and no Python callback, which can deadlock with ffmpeg's threads.
        self._av.logging.set_level(None)
        self._format = fmt
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        self._head = file.read(_HEAD_BYTES)
        file.seek(0)
        try:
            self._container = self._av.open(_UnnamedFile(file), format=fmt.demuxer, metadata_errors="replace")
        except self._av.FFmpegError as error:
            message = f"the container cannot be opened: {_cause(error)}"
            raise ClipError(Reason.NOT_AUDIO, message) from error
        try:
            self._stream = self._choose_stream()
            self._timeline = Timeline(self._origin_s(), fmt.has_timestamps)
            self._others_end_s = 0.0
            self.rate_hz = self.channels = 0
            self._parts = self._decode()
            # Only a decoded frame is reliable: the header of HE-AAC may state half the rate, or one channel.
            self._first = next(self._parts, None)
            if self._first is None:
                self.rate_hz = self._stream.codec_context.sample_rate or 0
                self.channels = self._stream.codec_context.channels or 0
            if self.rate_hz <= 0 or self.channels <= 0:
                raise ClipError(Reason.NOT_AUDIO, "the audio stream has no sample rate or no channels")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the decoder; the file stays open."""
        self._container.close()

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Yield float64[frames, channels] of about 2**18 frames, fewer in the last block; can be read once.

        Integer samples are divided exactly by their full scale: 16 bits by 2**15, and 24 and 32 bits by 2**31
        because ffmpeg left-aligns them; 8 bits are centred first. Float samples are unchanged, even NaN.

        Raises:
          ClipError: CORRUPT if a packet does not decode, if the rate or the channels change, if audio is
            missing between two frames, or if it ends before the stated length (`Format.compared`).
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
        # The default options ignore a wrong checksum of a FLAC frame.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        return stream

    def _origin_s(self) -> float:
        """Return when the first audio or video stream begins, in the container's own time."""
        # For a stream without a start time, such as a cover image, ffmpeg uses that of the container.
        starts_s = [
            float(stream.start_time * stream.time_base)
            for stream in (*self._container.streams.audio, *self._container.streams.video)
            if stream.start_time is not None
        ]
        return min(starts_s, default=0.0)

    def _decode(self) -> Iterator[NDArray[np.float64]]:
        """Yield float64[frames, channels] for each decoded frame, and set the rate and the channels."""
        frames, silent_packets, next_frame = 0, 0, first_frame_offset(self._format, self._head)
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                # Not by index: the packets that flush the decoders at the end always have index 0.
                ours = packet.stream == self._stream
                decoded = packet.decode() if ours else []
            except self._av.FFmpegError as error:
                raise self._corrupt(frames, f"does not decode: {_cause(error)}") from error
            if not ours:
                if packet.pts is not None and self._format.counts_all_streams:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._others_end_s = max(self._others_end_s, float(end))
                continue
            if packet.is_corrupt:
                raise self._corrupt(frames, "has a packet that is cut off or damaged")
            if packet.size and self._format.is_contiguous:
                if packet.pos != next_frame:
                    raise self._corrupt(frames, f"bytes {next_frame} to {packet.pos} are not a frame")
                next_frame = packet.pos + packet.size
            if packet.pts is not None:
                self._timeline.add_packet(float(packet.pts * packet.time_base))
            silent_packets = 0 if decoded else silent_packets + 1
            if silent_packets > _MAX_SILENT_PACKETS:
                raise self._corrupt(frames, f"{silent_packets} packets without a sample")
            for frame in decoded:
                if not self.rate_hz:
                    self.rate_hz, self.channels = frame.sample_rate, frame.layout.nb_channels
                now = (frame.sample_rate, frame.layout.nb_channels)
                if now != (self.rate_hz, self.channels):
                    raise self._corrupt(frames, f"changes to {now[0]} Hz and {counted(now[1], 'channel')}")
                yield from self._silence_before(frame)
                part = _samples(frame)
                frames += len(part)
                yield part
        if self._format.is_contiguous and next_frame != self._size:
            raise self._corrupt(frames, f"bytes {next_frame} to {self._size}, the end, are not a frame")
        self._check_length(frames)

    def _silence_before(self, frame: Any) -> Iterator[NDArray[np.float64]]:
        start_s = None if frame.pts is None else float(frame.pts * frame.time_base)
        silence_s = self._timeline.add_frame(start_s, frame.samples / self.rate_hz)
        left = round(silence_s * self.rate_hz)
        while left > 0:
            yield np.zeros((min(left, _BLOCK_FRAMES), self.channels))
            left -= _BLOCK_FRAMES

    def _check_length(self, frames: int) -> None:
        """Compare what was decoded with the stated length.

        Raises:
          ClipError: CORRUPT if there is less, or if it differs from an exact number of frames.
        """
        stated = stated_frames(self._format, self._head)
        if stated is not None and frames < stated:
            raise ClipError(Reason.CORRUPT, f"ends at frame {frames} of {stated}")
        if stated is not None and frames > stated:
            raise ClipError(Reason.CORRUPT, f"has more than the {stated} frames that its header states")
        structure = read_structure(self._format, self._file, self._size, self._stream.id)
        stated_s = stated_end_s(
            self._format, self._container, self._stream, self._head, structure.is_fragmented
        )
        end_s = max(self._timeline.end_s, self._others_end_s)
        if stated_s is not None and end_s < stated_s - self._format.max_shortfall_s:
            raise ClipError(Reason.CORRUPT, f"ends at {end_s:.2f} of {stated_s:.2f} s")
        if structure.cut_off:
            raise self._corrupt(frames, structure.cut_off)

    def _corrupt(self, frames: int, what: str) -> ClipError:
        return ClipError(Reason.CORRUPT, f"{what}, after {frames / (self.rate_hz or 1):.2f} s")


class _UnnamedFile:
    """The methods of a file that ffmpeg needs, without its name, from which ffmpeg would guess a format."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        # A damaged header can ask for a negative offset; ffmpeg understands a negative result as a refusal.
        if whence == 0 and offset < 0:
            return -_EINVAL
        return self._file.seek(offset, whence)


def _samples(frame: Any) -> NDArray[np.float64]:
    """Return a decoded frame as float64[frames, channels]."""
    kind = frame.format.name.removesuffix("p")
    if kind not in _SAMPLE_TYPES:
        raise ClipError(Reason.NOT_AUDIO, f"samples of type {frame.format.name} are not known")
    # Not `to_ndarray`: with eight planes, PyAV reads a ninth one from an invalid address.
    channels = frame.layout.nb_channels
    num_planes, width = (channels, 1) if frame.format.is_planar else (1, channels)
    planes = frame.planes[:num_planes]
    values = [np.frombuffer(plane, _SAMPLE_TYPES[kind], frame.samples * width) for plane in planes]
    array = np.stack(values, axis=-1).reshape(-1, channels)
    with np.errstate(invalid="ignore"):  # a later check rejects signalling NaNs
        samples = np.ascontiguousarray(array, np.float64)
    if kind == "u8":
        return (samples - 2**7) / 2**7
    return samples / {"s16": 2**15, "s32": 2**31}.get(kind, 1)


def _cause(error: Any) -> str:
    return (error.strerror or str(error)).splitlines()[0]
