"""What can be wrong: one clip, the command, the place where features go, or the memory for the model."""

import enum

from transforms.printable import printable


class Reason(str, enum.Enum):
    """Why a clip is rejected; the value is what stands in the lists of the rejected and in the manifest."""

    UNREADABLE = "unreadable"  # the file system would not give the file's bytes
    NOT_AUDIO = "not_audio"  # empty, or no format that the decoder knows
    CORRUPT = "corrupt"  # known format, but damaged, or ends before its header says
    UNSUPPORTED = "unsupported"  # sample rate, channel count or form of archive outside what is read
    CRASHED = "crashed"  # it makes the decoder crash, or hang
    NOT_FINITE = "not_finite"  # NaN or infinite samples
    OUTSIDE_AUDIO = "outside_audio"  # the segment begins after the audio ends
    TOO_SHORT = "too_short"  # less than one example: 0.975 s at the default window
    BAD_RECORD = "bad_record"  # a shard's record, member or row is damaged, or lacks id or audio
    TRUNCATED_SHARD = "truncated_shard"  # a shard ends, or cannot be read on, in the middle
    NOT_EMBEDDED = "not_embedded"  # the model failed on this clip alone, or gave NaN or infinite embeddings
    DUPLICATE = "duplicate"  # another file is already this clip


class ClipError(Exception):
    """A clip's own fault: the clip is rejected and counted, and the run goes on."""

    def __init__(self, reason: Reason, message: str):
        super().__init__(message)
        self.reason = reason


class _OneLineError(Exception):
    """An error whose message is shown as it is: one line, whatever names and causes stand in it."""

    def __init__(self, message: object):
        super().__init__(printable(str(message).strip()))


class SettingError(_OneLineError):
    """A mistake in the command or in what it points at: the run stops before any work.

    The message is one line that shows the value, the rule and a remedy.
    """


class OutputError(_OneLineError):
    """A file of the output that cannot be written, or one there that is damaged: the run stops.

    What stands in place is whole, so that the same command goes on from there once the cause is mended. The
    message is one line: the file, the cause and the remedy.
    """


class OutOfMemoryError(_OneLineError):
    """The accelerator's, or the machine's, memory does not hold the network and one example.

    The message is one line with the remedy.
    """
