"""What a container says about the length of its audio, apart from what ffmpeg guesses."""

import struct
from typing import Any

from transforms.audio.formats import Format

# ffmpeg states as long a duration after copying an Ogg Vorbis stream whose last packet is cut to nothing.
_OVERFLOWN_FRAMES = (1 << 32) - (1 << 16)
_MICROSECONDS = 1_000_000


def promised_end_s(
    form: Format, container: Any, stream: Any, head: bytes, is_fragmented: bool
) -> float | None:
    """The time at which the header says that the audio ends, in the container's own time.

    Args:
      form: its format.
      container, stream: PyAV's, read to the end: the index of a fragmented MP4 grows on the way.
      head: the file's first bytes.
      is_fragmented: of an MP4, as `read_structure` finds.

    Returns:
      None where nothing is promised, and where ffmpeg would only guess, from bit rates and sizes.
    """
    start_s = float((stream.start_time or 0) * stream.time_base)
    end_s = None
    match form.demuxer:
        case "mov" if stream.duration is not None:
            # Of fragments ffmpeg states the end of the last one, and not the length.
            end_s = float(stream.duration * stream.time_base) + (0 if is_fragmented else start_s)
        case "matroska" if container.duration is not None:
            # Where the header states no duration ffmpeg guesses one for every stream.
            if any(other.duration is None for other in container.streams):
                end_s = container.duration / _MICROSECONDS
                # ffmpeg writes the time of the end, others the length: of a file that begins late it is told.
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


def promised_frames(form: Format, head: bytes) -> int | None:
    """The number of samples per channel that a lossless stream's header states; None where it does not.

    Args:
      form: the stream's format.
      head: its first bytes, behind any tags.
    """
    if form.demuxer == "flac" and len(head) >= 26:  # RFC 9639, 8.2: the last 36 bits before the MD5
        return int.from_bytes(head[21:26], "big") & (1 << 36) - 1 or None
    if form.demuxer == "wv" and len(head) >= 20:  # WavPack 4 & 5 file format, the block header
        high, low = head[11], int.from_bytes(head[12:16], "little")
        index = int.from_bytes(head[16:20], "little") | head[10] << 32
        return None if low == 0xFFFFFFFF or index else (high << 32 | low) - high
    return None


def first_frame(form: Format, head: bytes) -> int:
    """The byte at which the frames of a chain begin: behind the line that AMR begins with (RFC 4867, 5.1)."""
    return head.index(b"\n") + 1 if form.demuxer == "amr" else 0


def _asf_duration_s(head: bytes) -> float | None:
    """What the File Properties Object states (ASF specification, 3.2); ffmpeg's value may be a guess."""
    begin = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if begin < 0 or len(head) < begin + 92:
        return None
    play_100ns, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, begin + 64)
    is_broadcast = flags & 1
    return None if is_broadcast else play_100ns / 1e7 - preroll_ms / 1e3
