"""Read the length that a container states for its audio, without the lengths that ffmpeg only estimates."""

import struct
from typing import Any

from transforms.audio.formats import Format

# ffmpeg states such a duration after it copied an Ogg Vorbis stream whose last packet is cut to nothing.
_OVERFLOWN_FRAMES = (1 << 32) - (1 << 16)
_MICROSECONDS = 1_000_000


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
            # If the header states no duration, ffmpeg estimates one for every stream.
            if any(other.duration is None for other in container.streams):
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
    """Return the samples per channel that a lossless stream's header states; None if it does not.

    Args:
      fmt: the stream's format.
      head: the stream's first bytes after any tags.
    """
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
