"""Audio inside the containers that ffmpeg reads, through PyAV, to blocks of samples."""

import importlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.audio.formats import Format
from transforms.audio.promises import first_frame, promised_end_s, promised_frames
from transforms.audio.structure import read_structure, transport_cut_off
from transforms.audio.timeline import Timeline
from transforms.errors import ClipError, Reason

_BLOCK_FRAMES = 1 << 18
# An encoder's delay is a few packets; a header can promise millions of empty ones.
_MAX_SILENT_PACKETS = 1_000
_HEAD_BYTES = 1 << 13
_EINVAL = 22
# ffmpeg's sample formats, packed or planar.
_SAMPLE_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}


class ContainerStream:
    """The first audio stream that a container marks as default, or its first; decoded once, front to back.

    Samples are as ffmpeg gives them. Encoder delay that the container states (edit lists, CodecDelay,
    DiscardPadding) is cut off, so that a sample's index over the rate is its time in the source: measured
    with AAC in M4A, and Opus in WebM, exact to the sample (Opus always at 48 kHz). Three things remain:
    AAC keeps its padding after the end, less than one frame of 1024; ADTS has no place to state the delay,
    so AAC from ffmpeg begins 1024 samples late; and ffmpeg takes two frames of delay off every WMA, so that
    one made by ffmpeg's own encoder, whose delay is one frame, begins 512 to 2048 samples early.

    Audio that begins later than the video beside it has silence before it, so that times are the
    container's; `Timeline` says what counts as late, and as a gap.

    Attributes:
      rate_hz: sample rate, any that the codec has.
      channels: number of channels, any that the codec has.
      num_frames: always None, because what containers state is rounded or leaves out the padding.
    """

    rate_hz: int
    channels: int
    num_frames: int | None = None

    def __init__(self, file: BinaryIO, form: Format):
        """Opens the container and decodes its first frame.

        Args:
          file: seekable, open for reading in binary mode; read from its start, and the caller's to close.
            Of a format that is a chain of frames it holds these and nothing else.
          form: the file's format, with a demuxer.

        Raises:
          ClipError: NOT_AUDIO where the container cannot be opened, has no audio or audio of an unknown
            codec; CORRUPT where the stream is damaged at its start.
          ImportError: PyAV is not installed, or broken.
        """
        self._av = _import_av()
        self._form = form
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        self._head = file.read(_HEAD_BYTES)
        self._structure = read_structure(form, file, self._size)
        file.seek(0)
        try:
            self._container = self._av.open(_Readable(file), format=form.demuxer, metadata_errors="replace")
        except self._av.FFmpegError as error:
            message = f"the container cannot be opened: {_cause(error)}"
            raise ClipError(Reason.NOT_AUDIO, message) from error
        try:
            self._stream = self._choose_stream()
            self._timeline = Timeline(self._origin_s(), form.has_timestamps)
            self._others_end_s = 0.0
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
          ClipError: CORRUPT where a packet does not decode, where rate or channels change, where audio is
            missing between two frames, or where it ends before its format's promise (`Format.compared`).
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

    def _origin_s(self) -> float:
        """When the first of the audio and video streams begins, in the container's own time."""
        # Of a stream that states none, such as a cover, ffmpeg takes the container's.
        starts_s = [
            float(stream.start_time * stream.time_base)
            for stream in (*self._container.streams.audio, *self._container.streams.video)
            if stream.start_time is not None
        ]
        return min(starts_s, default=0.0)

    def _decode(self) -> Iterator[NDArray[np.float64]]:
        """Yields float64[frames, channels], one for each decoded frame, and sets the rate and channels."""
        frames, silent_packets, chained_to = 0, 0, first_frame(self._form, self._head)
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                # Not its index: of the packets at the end, which flush the decoders, that is always 0.
                ours = packet.stream == self._stream
                decoded = packet.decode() if ours else []
            except self._av.FFmpegError as error:
                raise self._corrupt(frames, f"does not decode: {_cause(error)}") from error
            if not ours:
                if packet.pts is not None and self._form.counts_all_streams:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._others_end_s = max(self._others_end_s, float(end))
                continue
            if packet.is_corrupt:
                raise self._corrupt(frames, "has a packet that is cut off or damaged")
            if packet.size and self._form.is_chained:
                if packet.pos != chained_to:
                    raise self._corrupt(frames, f"is no frame from byte {chained_to} to {packet.pos}")
                chained_to = packet.pos + packet.size
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
                    raise self._corrupt(frames, "changes to {} Hz and {} channels".format(*now))
                yield from self._silence_before(frame)
                part = _samples(frame)
                frames += len(part)
                yield part
        if self._form.is_chained and chained_to != self._size:
            raise self._corrupt(frames, f"is no frame from byte {chained_to} to {self._size}, the end")
        self._check_promise(frames)

    def _silence_before(self, frame: Any) -> Iterator[NDArray[np.float64]]:
        start_s = None if frame.pts is None else float(frame.pts * frame.time_base)
        silence_s = self._timeline.add_frame(start_s, frame.samples / self.rate_hz)
        left = round(silence_s * self.rate_hz)
        while left > 0:
            yield np.zeros((min(left, _BLOCK_FRAMES), self.channels))
            left -= _BLOCK_FRAMES

    def _check_promise(self, frames: int) -> None:
        """Compares what was decoded with what the header promises.

        Raises:
          ClipError: CORRUPT where it is less, or other than an exact number of frames.
        """
        promised = promised_frames(self._form, self._head)
        if promised is not None and frames < promised:
            raise ClipError(Reason.CORRUPT, f"ends at frame {frames} of {promised}")
        if promised is not None and frames > promised:
            raise ClipError(Reason.CORRUPT, f"goes on after the {promised} frames that its header states")
        promised_s = promised_end_s(
            self._form, self._container, self._stream, self._head, self._structure.is_fragmented
        )
        end_s = max(self._timeline.end_s, self._others_end_s)
        if promised_s is not None and end_s < promised_s - self._form.max_shortfall_s:
            raise ClipError(Reason.CORRUPT, f"ends at {end_s:.2f} of {promised_s:.2f} s")
        if cut_off := self._structure.cut_off or self._transport_cut_off():
            raise self._corrupt(frames, cut_off)

    def _transport_cut_off(self) -> str:
        if self._form.demuxer != "mpegts":
            return ""
        return transport_cut_off(self._file, self._size, self._stream.id)

    def _corrupt(self, frames: int, what: str) -> ClipError:
        return ClipError(Reason.CORRUPT, f"{what}, after {frames / (self.rate_hz or 1):.2f} s")


class _Readable:
    """What ffmpeg may do with a file, and no name, so that it cannot go by that."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        # A damaged header can ask for a place before the file; ffmpeg takes a negative answer as a refusal.
        if whence == 0 and offset < 0:
            return -_EINVAL
        return self._file.seek(offset, whence)


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
    """PyAV, which takes 0.1 s and 35 MB where only libsndfile is needed."""
    av = importlib.import_module("av")
    # Nothing, and no Python callback, which can deadlock with ffmpeg's threads.
    av.logging.set_level(None)
    return av


def _cause(error: Any) -> str:
    return (error.strerror or str(error)).splitlines()[0]
