"""The frames of an MPEG audio file (MP1, MP2, MP3), counted by walking from header to header."""

import dataclasses
import struct
from typing import BinaryIO

from transforms.audio.parsers.byte_window import ByteWindow
from transforms.audio.parsers.links import Link
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
from transforms.audio.parsers.spliced_file import Stretch, patched
from transforms.audio.parsers.tags import HEAD_BYTES, before_tags, skip_tags, tag_bytes
from transforms.errors import ClipError, Reason

# Behind a tag whose length is wrong, or where a stream was cut, the first frame may begin later.
_MAX_LEAD_BYTES = 1 << 16
# So many headers in a row are no accident.
_CONFIRMATIONS = 3
# What stands two bytes behind the place of `Xing`, `Info` or `VBRI`; of the first two, also where a checksum
# moves them by two.
_INFO_MARKS = b"nfRXI"


def mpeg_links(file: BinaryIO, begin: int = 0, end: int | None = None) -> list[Link] | None:
    """Walks over all frames, and gives what to decode: a link for each Xing or Info frame of joined files.

    Header and frames are compared. A header that states too few frames is corrected, since libsndfile would
    stop there; of a stream without a header the length is hidden, from which libsndfile would estimate where
    to stop. Tags between frames are left out. The last frame of a stream without a header may be cut off, and
    is left out, since recordings of streams end anywhere: less than a frame is lost, 26 ms at 44.1 kHz.

    Args:
      file: seekable, open in binary mode.
      begin, end: where they are; None for the end of the file, but for the tags there.

    Returns:
      None where no frames are found at the beginning.

    Raises:
      ClipError: CORRUPT where frames are absent that a header promises, where bytes among the frames are
        neither frame nor tag, and where sample rate, channels or layer change.
    """
    begin = skip_tags(file, begin)
    window = ByteWindow(file, before_tags(file) if end is None else end)
    found = _find_info(window, begin) or _find_frames(window, begin, begin + _MAX_LEAD_BYTES, is_first=True)
    if found is None:
        return None
    if _begins(window, begin, found[1]):
        found = begin, *found[1:]  # what is between is a hole
    walk = _Walk(window, *found)
    walk.run()
    is_sound = found[0] == 0 and len(walk.links) == 1 and walk.is_as_stated
    return [Link()] if is_sound else walk.links


def find_mpeg_frames(file: BinaryIO) -> int | None:
    """Place of the first of several frames in a row, up to 64 KiB behind any tags; None if there is none."""
    begin = skip_tags(file)
    found = _find_frames(ByteWindow(file, before_tags(file)), begin, begin + _MAX_LEAD_BYTES)
    return None if found is None else found[0]


class _Walk:
    """Goes over frames of a kind from a place to the end.

    Attributes:
      links: what was found.
      is_as_stated: whether the last link is one stretch whose header states its number of frames.
    """

    def __init__(self, window: ByteWindow, position: int, kind: FrameKind, free_bytes: int):
        self.links: list[Link] = []
        self.is_as_stated = False
        self._window = window
        self._position = position
        self._kind = kind
        self._lengths = frame_lengths(kind, free_bytes)
        self._is_cut = False  # the last frame
        self._begin_link(None)

    def _begin_link(self, info: InfoFrame | None) -> None:
        self._info = info
        self._begin = self._stretch_begin = self._position
        self._stretches: list[Stretch] = []
        self._count = 0

    def run(self) -> None:
        """Goes to the end."""
        while True:
            info = self._pass_frames()
            head = self._window.at(self._position, max(INFO_BYTES, HEAD_BYTES))
            if info is not None:
                self._close_link()
                self._begin_link(info)
                self._position += self._lengths[head[2]]
                if not self.links:
                    self._take_channels()
            elif self._is_cut or not head:
                break
            elif (length := tag_bytes(head)) and self._position + length <= self._window.end:
                self._stretches.append(Stretch(self._stretch_begin, self._position))
                self._position = self._stretch_begin = self._position + length
            else:
                self._judge_rest()
                break
        self._close_link()

    def _take_channels(self) -> None:
        """A header frame without sound may have other channels than those that follow."""
        kind = parse_header(self._window.at(self._position, HEADER_BYTES))
        if kind is not None and dataclasses.replace(kind, is_mono=self._kind.is_mono) == self._kind:
            self._kind = kind

    def _pass_frames(self) -> InfoFrame | None:
        """Goes over frames up to an info frame, which is returned, or to what is no frame of this kind."""
        window, kind = self._window, self._kind
        is_known = False  # that no info frame begins here
        while True:
            window.hold(self._position, INFO_BYTES)
            data, begin = window.data, window.begin
            is_last = begin + len(data) >= window.end
            stop = len(data) - (HEADER_BYTES if is_last else INFO_BYTES) + 1
            at = self._position - begin
            at, count, length, is_marked = _pass(data, at, stop, kind, self._lengths, is_known)
            self._count += count
            self._position = begin + at
            if self._position > window.end:
                self._is_cut = True
                self._count -= 1 if count else 0
                self._position = self._position - length if count else window.end  # an info frame is cut
            is_known = is_marked
            info = parse_info(data[at : at + INFO_BYTES], kind) if is_marked else None
            if info is not None or (not is_marked and (at < stop or is_last)):
                return info

    def _judge_rest(self) -> None:
        """What follows is no frame of this kind: junk at the end, or a fault.

        Raises:
          ClipError: CORRUPT where it is a fault.
        """
        window, place = self._window, self._position
        found = _find_frames(window, place, window.end)
        if found is None:
            stated = self._info.num_frames if self._info else None
            num_bytes = window.end - place
            if num_bytes > max(self._lengths) and (stated is None or self._count < stated):
                message = f"the last {num_bytes} bytes, after MPEG frame {self._count}, are no frames"
                raise ClipError(Reason.CORRUPT, message)
            return
        position, kind, _ = found
        if kind != self._kind:
            raise ClipError(Reason.CORRUPT, f"changes to {kind}, at byte {position}")
        message = f"{position - place} bytes that are no frames, after MPEG frame {self._count}"
        raise ClipError(Reason.CORRUPT, message)

    def _close_link(self) -> None:
        info, count = self._info, self._count
        if info is None and not count:
            return
        stretches = [*self._stretches, Stretch(self._stretch_begin, self._position)]
        if info is None:
            self.links.append(Link(stretches, count * self._kind.frame_samples, is_length_hidden=True))
            return
        if _lacks_frames(info, count, sum(stretch.end - stretch.begin for stretch in stretches)):
            raise ClipError(Reason.CORRUPT, f"ends at MPEG frame {count} of {info.num_frames}")
        self.is_as_stated = False
        if info.frames_offset is None:
            self.links.append(Link(stretches, is_length_hidden=True))
            return
        patches = []
        if info.num_frames != count:
            patches.append((self._begin + info.frames_offset, struct.pack(">I", count)))
            patches.append(self._without_padding(self._begin + info.padding_offset))
        self.is_as_stated = not patches and len(stretches) == 1
        first = stretches[0]
        self.links.append(Link([*patched(first.begin, first.end, patches), *stretches[1:]]))

    def _without_padding(self, place: int) -> tuple[int, bytes]:
        """The patch that keeps the encoder's delay: what is to be cut at the end is of another end."""
        delay = int.from_bytes(self._window.at(place, 3), "big") >> 12
        return place, (delay << 12).to_bytes(3, "big")


def _lacks_frames(info: InfoFrame, count: int, num_bytes: int) -> bool:
    """Whether fewer frames are there than stated.

    Encoders other than LAME and ffmpeg may count the info frame too: then all bytes that they state are
    there.
    """
    stated = info.num_frames
    if stated is None or count >= stated:
        return False
    counts_itself = not info.has_name and count == stated - 1
    return not (counts_itself and (info.num_bytes or 0) <= num_bytes)


def _pass(
    data: bytes, at: int, stop: int, kind: FrameKind, lengths: tuple[int, ...], is_known: bool
) -> tuple[int, int, int, bool]:
    """Goes over the frames that begin before `stop`, up to one that may be an info frame.

    Args:
      is_known: that the first one is none.

    Returns:
      Where it is then, the number of frames, the last one's length, and whether an info frame may begin here.
    """
    second, is_mono, count, length = kind.second_byte, kind.is_mono, 0, 0
    last, mark = len(data) - 1, info_offset(kind) + 2
    while at < stop:
        if data[at] != 0xFF or data[at + 1] | 1 != second or (data[at + 3] >= 0xC0) is not is_mono:
            break
        next_length = lengths[data[at + 2]]
        if not next_length:
            break
        if data[min(at + mark, last)] in _INFO_MARKS and not (is_known and not count):
            return at, count, length, True
        length = next_length
        at += length
        count += 1
    return at, count, length, False


def _begins(window: ByteWindow, position: int, kind: FrameKind) -> bool:
    """Whether a frame of this kind begins at a place, but for its channels."""
    found = parse_header(window.at(position, HEADER_BYTES))
    return found is not None and dataclasses.replace(found, is_mono=kind.is_mono) == kind


def _find_info(window: ByteWindow, position: int) -> tuple[int, FrameKind, int] | None:
    """What `_find_frames` gives, where an info frame begins here, whatever follows it."""
    kind = parse_header(window.at(position, HEADER_BYTES))
    if kind is None or parse_info(window.at(position, INFO_BYTES), kind) is None:
        return None
    return position, kind, 0


def _find_frames(
    window: ByteWindow, begin: int, limit: int, is_first: bool = False
) -> tuple[int, FrameKind, int] | None:
    """The first place before `limit` where frames follow each other, their kind, and bytes of free format."""
    position = begin
    while position < min(limit, window.end):
        window.hold(position, (_CONFIRMATIONS + 1) * MAX_FRAME_BYTES)
        offset = window.data.find(b"\xff", position - window.begin)
        if offset < 0:
            position = window.begin + len(window.data)
            continue
        position = window.begin + offset
        window.hold(position, (_CONFIRMATIONS + 1) * MAX_FRAME_BYTES)
        head = window.at(position, HEADER_BYTES)
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
    """Whether frames of a kind follow each other from a place, but for the channels of the first.

    At a file's beginning one frame may do, if the file ends there, or in the next.
    """
    lengths = frame_lengths(kind, free_bytes)
    for number in range(_CONFIRMATIONS):
        if position >= window.end:
            return position == window.end or (is_first and number > 1)
        head = window.at(position, HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            return is_first
        if not _begins(window, position, kind) or not lengths[head[2]]:
            return False
        position += lengths[head[2]]
    return True


def _free_lengths(window: ByteWindow, position: int, kind: FrameKind) -> list[int]:
    """Lengths, without padding, that frames in free format may have: the distance to the next such header."""
    data = window.at(position, MAX_FRAME_BYTES + HEADER_BYTES)
    padding = (data[2] >> 1 & 1) * kind.slot_bytes
    lengths = []
    place = data.find(data[:2], MIN_FREE_BYTES)
    while 0 <= place < len(data) - 2:
        if not data[place + 2] >> 4:
            lengths.append(place - padding)
        place = data.find(data[:2], place + 1)
    return lengths
