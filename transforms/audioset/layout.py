"""Where a record stands in a feature folder: `SPLIT/PREFIX.tfrecord`, as in the AudioSet release."""

import re
import urllib.parse

from transforms.errors import SettingError

SHARD_SUFFIX = ".tfrecord"
PREFIX_CHARACTERS = 2

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_split(split: str) -> str:
    """Returns `split` if it can name a folder.

    Raises:
      SettingError: it is empty, or has other characters than letters, digits, `_`, `.` and `-`, or
        begins with one of those three (`_run` is the run's own folder).
    """
    if not _SPLIT.fullmatch(split):
        raise SettingError(
            f"split {split!r}: a split names a folder; give letters, digits, '_', '.', '-', "
            "beginning with a letter or digit"
        )
    return split


def shard_prefix(video_id: str) -> str:
    """The first two characters of an id, which name its shard.

    Ids of the release have only `A-Z a-z 0-9 - _`. A character that a path cannot hold (a slash, a
    control character) is percent-encoded, so that no id can leave its folder.
    """
    prefix = video_id[:PREFIX_CHARACTERS]
    return "".join(
        urllib.parse.quote(c, safe="", errors="surrogateescape")
        if c in '/\\:*?"<>|%' or not c.isprintable()
        else c
        for c in prefix
    )


def shard_path(split: str, prefix: str) -> str:
    """Path of a shard below the feature folder, with `/` between its parts."""
    return f"{split}/{prefix}{SHARD_SUFFIX}"
