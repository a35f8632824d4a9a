"""The project's errors: for a clip, the command, the output, and the memory for the model.

Messages never contain secrets, whatever they are made from: see `transforms.redact`.
"""

import enum

from transforms.printable import printable
from transforms.redact import shown_text


class Reason(str, enum.Enum):
    """Why a clip is rejected. The value appears in the reject lists and in the manifest."""

    UNREADABLE = "unreadable"  # the file system could not read the file
    NOT_AUDIO = "not_audio"  # empty, or in a format that no decoder knows
    CORRUPT = "corrupt"  # known format, but damaged, or shorter than its header states
    UNSUPPORTED = "unsupported"  # sample rate, channel count or archive format is not supported
    CRASHED = "crashed"  # the decoder crashes or hangs on it
    NOT_FINITE = "not_finite"  # NaN or infinite samples
    OUTSIDE_AUDIO = "outside_audio"  # the segment begins after the audio ends
    TOO_SHORT = "too_short"  # less than one example: 0.975 s at the default window
    BAD_RECORD = "bad_record"  # a shard's record, member or row is damaged, or lacks id or audio
    TRUNCATED_SHARD = "truncated_shard"  # a shard is cut off, or cannot be read to its end
    NOT_EMBEDDED = "not_embedded"  # the model failed on this clip alone, or returned NaN or infinite values
    DUPLICATE = "duplicate"  # another file has the same clip


class ClipError(Exception):
    """A clip cannot be processed: the clip is rejected and counted, and the run continues."""

    def __init__(self, reason: Reason, message: str):
        super().__init__(shown_text(message))
        self.reason = reason


class _OneLineError(Exception):
    """An error whose message is one line that is safe to print, whatever names and causes it contains."""

    def __init__(self, message: object):
        super().__init__(printable(shown_text(str(message).strip())))


class SettingError(_OneLineError):
    """A mistake in the command or in a file that it names: the run stops before any work.

    The message is one line with the value, the rule and a remedy.
    """


class OutputError(_OneLineError):
    """A file of the output cannot be written, or an existing one is damaged: the run stops.

    Finished files are complete, so the same command continues from there after the cause is fixed. The
    message is one line with the file, the cause and the remedy.
    """


class OutOfMemoryError(_OneLineError):
    """The memory of the accelerator or of the machine is too small for the network and one example.

    The message is one line with the remedy.
    """
