"""Find the frames of an MPEG audio file (MP1, MP2, MP3) by walking from header to header."""

import dataclasses
import struct
from typing import BinaryIO

from transforms.audio.parsers.byte_window import ByteWindow
from transforms.audio.parsers.mpeg_header import (
    HEADER_BYTES,
    INFO_BYTES,
    MAX_FRAME_BYTES,
    MIN_FREE_BYTES,
    FrameKind,
    InfoFrame,
    frame_lengths,
    info_offset,
    parse_header,
    parse_info,
)
from transforms.audio.parsers.spliced_file import ByteRange, Link, patched
from transforms.audio.parsers.tags import HEAD_BYTES, end_without_tags, skip_tags, tag_bytes
from transforms.errors import ClipError, Reason
from transforms.printable import counted

# The first frame may begin later if a tag states a wrong length or if the stream was cut.
_MAX_LEAD_BYTES = 1 << 16
# This many consecutive headers cannot be a coincidence.
_CONFIRMATIONS = 3
# A cheap test before `parse_info`: the byte two bytes into the tag. It is the third letter of `Xing`, `Info`
# or `VBRI`, or the first letter of `Xing` or `Info` if a checksum moves the tag by two bytes.
_INFO_MARKS = b"nfRXI"


def mpeg_links(file: BinaryIO, begin: int = 0, end: int | None = None) -> list[Link] | None:
    """Return what to decode: one link, or one per Xing or Info frame in concatenated files.

    The function walks over all frames and compares their number with the header. libsndfile would stop at the
    number of frames in the header, so a header that states too few is corrected. Without a header, libsndfile
    would estimate the number from the file's length, so that length is hidden. Tags between frames are left
    out. The last frame of a stream without a header is left out if it is cut off, because recordings of
    streams can end anywhere: this loses less than a frame, which is 26 ms at 44.1 kHz.

    Args:
      file: seekable, open in binary mode.
      begin, end: byte range of the frames; `end=None` means the end of the file without its trailing tags.

    Returns:
      None if there are no frames at the beginning.

    Raises:
      ClipError: CORRUPT if there are fewer frames than the header states, if bytes between the frames are
        neither frame nor tag, or if the sample rate, channels or layer change.
    """
    begin = skip_tags(file, begin)
    window = ByteWindow(file, end_without_tags(file) if end is None else end)
    kind = parse_header(window.read_at(begin, HEADER_BYTES))
    if kind is not None and parse_info(window.read_at(begin, INFO_BYTES), kind) is not None:
        found: tuple[int, FrameKind, int] | None = begin, kind, 0  # whatever follows the info frame
    else:
        found = _find_frames(window, begin, begin + _MAX_LEAD_BYTES, is_first=True)
    if found is None:
        return None
    if _is_frame(window, begin, found[1]):
        found = begin, *found[1:]  # the bytes between the two frames are a hole
    walk = _FrameWalk(window, *found)
    walk.run()
    is_intact = found[0] == 0 and len(walk.links) == 1 and walk.is_as_stated
    return [Link()] if is_intact else walk.links


def find_mpeg_frames(file: BinaryIO) -> int | None:
    """Return the offset of the first run of frames, within 64 KiB after any tags; None without frames."""
    begin = skip_tags(file)
    found = _find_frames(ByteWindow(file, end_without_tags(file)), begin, begin + _MAX_LEAD_BYTES)
    return None if found is None else found[0]


class _FrameWalk:
    """Walks over frames of one kind, from a position to the end.

    Attributes:
      links: the links found so far.
      is_as_stated: whether the last link is a single byte range whose header states its number of frames.
    """

    def __init__(self, window: ByteWindow, position: int, kind: FrameKind, free_bytes: int):
        self.links: list[Link] = []
        self.is_as_stated = False
        self._window = window
        self._position = position
        self._kind = kind
        self._lengths = frame_lengths(kind, free_bytes)
        self._is_cut = False  # whether the last frame is cut off
        self._begin_link(None)

    def _begin_link(self, info: InfoFrame | None) -> None:
        self._info = info
        self._begin = self._range_begin = self._position
        self._ranges: list[ByteRange] = []
        self._count = 0

    def run(self) -> None:
        """Walk to the end and collect the links."""
        while True:
            info = self._skip_frames()
            head = self._window.read_at(self._position, max(INFO_BYTES, HEAD_BYTES))
            if info is not None:
                self._close_link()
                self._begin_link(info)
                self._position += self._lengths[head[2]]
                if not self.links:
                    self._update_channels()
            elif self._is_cut or not head:
                break
            elif (length := tag_bytes(head)) and self._position + length <= self._window.end:
                self._ranges.append(ByteRange(self._range_begin, self._position))
                self._position = self._range_begin = self._position + length
            else:
                self._check_rest()
                break
        self._close_link()

    def _update_channels(self) -> None:
        """Use the channels of the first audio frame: a header frame may have others."""
        kind = parse_header(self._window.read_at(self._position, HEADER_BYTES))
        if kind is not None and dataclasses.replace(kind, is_mono=self._kind.is_mono) == self._kind:
            self._kind = kind

    def _skip_frames(self) -> InfoFrame | None:
        """Skip frames up to an info frame, which is returned, or up to anything but a frame of this kind."""
        window, kind = self._window, self._kind
        is_not_info = False  # whether the frame at the position is known not to be an info frame
        while True:
            window.load(self._position, INFO_BYTES)
            data, begin = window.data, window.begin
            is_last = begin + len(data) >= window.end
            stop = len(data) - (HEADER_BYTES if is_last else INFO_BYTES) + 1
            at = self._position - begin
            at, count, length, may_be_info = _count_frames(data, at, stop, kind, self._lengths, is_not_info)
            self._count += count
            self._position = begin + at
            if self._position > window.end:
                self._is_cut = True
                self._count -= 1 if count else 0
                # Without a counted frame, the info frame itself is cut off.
                self._position = self._position - length if count else window.end
            is_not_info = may_be_info
            info = parse_info(data[at : at + INFO_BYTES], kind) if may_be_info else None
            if info is not None or (not may_be_info and (at < stop or is_last)):
                return info

    def _check_rest(self) -> None:
        """Accept other bytes at the end of the file, and reject all else that is not a frame of this kind.

        Raises:
          ClipError: CORRUPT if other frames follow, or if the stated number of frames is not reached.
        """
        window, offset = self._window, self._position
        found = _find_frames(window, offset, window.end)
        if found is None:
            stated = self._info.num_frames if self._info else None
            num_bytes = window.end - offset
            if num_bytes > max(self._lengths) and (stated is None or self._count < stated):
                message = f"the last {num_bytes} bytes, after MPEG frame {self._count}, are no frames"
                raise ClipError(Reason.CORRUPT, message)
            return
        position, kind, _ = found
        if kind != self._kind:
            raise ClipError(Reason.CORRUPT, f"changes to {kind}, at byte {position}")
        no_frames = counted(position - offset, "byte that is no frame", "bytes that are no frames")
        message = f"{no_frames}, after MPEG frame {self._count}"
        raise ClipError(Reason.CORRUPT, message)

    def _close_link(self) -> None:
        info, count = self._info, self._count
        if info is None and not count:
            return
        ranges = [*self._ranges, ByteRange(self._range_begin, self._position)]
        if info is None:
            self.links.append(Link(ranges, count * self._kind.frame_samples, is_length_hidden=True))
            return
        if _lacks_frames(info, count, sum(byte_range.end - byte_range.begin for byte_range in ranges)):
            raise ClipError(Reason.CORRUPT, f"ends at MPEG frame {count} of {info.num_frames}")
        self.is_as_stated = False
        if info.frames_offset is None:
            self.links.append(Link(ranges, is_length_hidden=True))
            return
        patches = []
        if info.num_frames != count:
            patches.append((self._begin + info.frames_offset, struct.pack(">I", count)))
            # Keep the delay, and remove the padding, which belongs to another end.
            offset = self._begin + info.padding_offset
            delay = int.from_bytes(self._window.read_at(offset, 3), "big") >> 12
            patches.append((offset, (delay << 12).to_bytes(3, "big")))
        self.is_as_stated = not patches and len(ranges) == 1
        first = ranges[0]
        self.links.append(Link([*patched(first.begin, first.end, patches), *ranges[1:]]))


def _lacks_frames(info: InfoFrame, count: int, num_bytes: int) -> bool:
    """Return whether there are fewer frames than the header states.

    Encoders other than LAME and ffmpeg may count the info frame too. In that case the stated bytes are all
    there.
    """
    stated = info.num_frames
    if stated is None or count >= stated:
        return False
    counts_itself = not info.has_name and count == stated - 1
    return not (counts_itself and (info.num_bytes or 0) <= num_bytes)


def _count_frames(
    data: bytes, at: int, stop: int, kind: FrameKind, lengths: tuple[int, ...], is_not_info: bool
) -> tuple[int, int, int, bool]:
    """Count the frames that begin before `stop`, up to one that may be an info frame.

    With `is_not_info`, the first frame is known not to be one.

    Returns:
      The new offset, the number of frames, the length of the last one, and whether an info frame may begin at
      the new offset.
    """
    is_mono, count, length = kind.is_mono, 0, 0
    second = 0xE0 | kind.version << 3 | kind.layer << 1 | 1  # of a header without a checksum
    last, mark = len(data) - 1, info_offset(kind) + 2
    while at < stop:
        if data[at] != 0xFF or data[at + 1] | 1 != second or (data[at + 3] >= 0xC0) is not is_mono:
            break
        next_length = lengths[data[at + 2]]
        if not next_length:
            break
        if data[min(at + mark, last)] in _INFO_MARKS and not (is_not_info and not count):
            return at, count, length, True
        length = next_length
        at += length
        count += 1
    return at, count, length, False


def _is_frame(window: ByteWindow, position: int, kind: FrameKind) -> bool:
    """Return whether a frame of this kind, with any channels, begins at a position."""
    found = parse_header(window.read_at(position, HEADER_BYTES))
    return found is not None and dataclasses.replace(found, is_mono=kind.is_mono) == kind


def _find_frames(
    window: ByteWindow, begin: int, limit: int, is_first: bool = False
) -> tuple[int, FrameKind, int] | None:
    """Find the first run of frames before `limit`: its position, kind, and free-format frame length."""
    position = begin
    while position < min(limit, window.end):
        window.load(position, (_CONFIRMATIONS + 1) * MAX_FRAME_BYTES)
        offset = window.data.find(b"\xff", position - window.begin)
        if offset < 0:
            position = window.begin + len(window.data)
            continue
        position = window.begin + offset
        window.load(position, (_CONFIRMATIONS + 1) * MAX_FRAME_BYTES)
        head = window.read_at(position, HEADER_BYTES)
        kind = parse_header(head)
        if kind is not None:
            for free_bytes in [0] if head[2] >> 4 else _free_lengths(window, position, kind):
                if _is_confirmed(window, position, kind, free_bytes, is_first):
                    return position, kind, free_bytes
        position += 1
    return None


def _is_confirmed(
    window: ByteWindow, position: int, kind: FrameKind, free_bytes: int, is_first: bool
) -> bool:
    """Return whether consecutive frames of a kind begin at a position; their channels may differ.

    At the beginning of a file, one frame is enough if the file ends after it or within the next one.
    """
    lengths = frame_lengths(kind, free_bytes)
    for number in range(_CONFIRMATIONS):
        if position >= window.end:
            return position == window.end or (is_first and number > 1)
        head = window.read_at(position, HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            return is_first
        if not _is_frame(window, position, kind) or not lengths[head[2]]:
            return False
        position += lengths[head[2]]
    return True


def _free_lengths(window: ByteWindow, position: int, kind: FrameKind) -> list[int]:
    """Return possible frame lengths in free format, without padding: the distances to similar headers."""
    data = window.read_at(position, MAX_FRAME_BYTES + HEADER_BYTES)
    padding = (data[2] >> 1 & 1) * kind.slot_bytes
    lengths = []
    offset = data.find(data[:2], MIN_FREE_BYTES)
    while 0 <= offset < len(data) - 2:
        if not data[offset + 2] >> 4:
            lengths.append(offset - padding)
        offset = data.find(data[:2], offset + 1)
    return lengths
