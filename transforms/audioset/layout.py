"""Where a record stands in a feature folder: `SPLIT/PREFIX.tfrecord`, as in the AudioSet release."""

import hashlib
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

from transforms.errors import SettingError

SHARD_SUFFIX = ".tfrecord"
PREFIX_CHARACTERS = 2
AUDIOSET = "audioset"
MAX_SHARDS = 99_999

# File names have at most 255 bytes. The longest that holds a split is the temporary name of a numbered shard:
# ".SPLIT-00000-of-00010.tfrecord.", 32 digits and ".tmp", 62 more than the split.
MAX_SPLIT_CHARACTERS = 128

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_split(split: str) -> str:
    """Returns `split` if it can name a folder.

    Raises:
      SettingError: it is empty, or has other characters than letters, digits, `_`, `.` and `-`, or
        begins with one of those three (`_run` is the run's own folder), or has more than 128 characters.
    """
    if len(split) > MAX_SPLIT_CHARACTERS:
        raise SettingError(
            f"split {split[:20]!r}...: {len(split)} characters, and a split names a folder and files; "
            f"give at most {MAX_SPLIT_CHARACTERS}"
        )
    if not _SPLIT.fullmatch(split):
        raise SettingError(
            f"split {split!r}: a split names a folder; give letters, digits, '_', '.', '-', "
            "beginning with a letter or digit"
        )
    return split


def shard_prefix(video_id: str) -> str:
    """The first two characters of an id, which name its shard.

    Ids of the release have only `A-Z a-z 0-9 - _`. A character that a path cannot hold (a slash, a
    control character) is percent-encoded, so that no id can leave its folder; so is a dot in front, since
    globs do not see such a file.
    """
    prefix = video_id[:PREFIX_CHARACTERS]
    encoded = "".join(
        urllib.parse.quote(c, safe="", errors="surrogateescape")
        if c in '/\\:*?"<>|%' or not c.isprintable()
        else c
        for c in prefix
    )
    return f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded


def colliding_ids(video_ids: Iterable[str]) -> tuple[str, str] | None:
    """Two ids whose prefixes a disk that folds case takes for one; None if there are none."""
    first_ids: dict[str, str] = {}
    for video_id in video_ids:
        prefix = shard_prefix(video_id)
        other = first_ids.setdefault(prefix.casefold(), video_id)
        if shard_prefix(other) != prefix:
            return other, video_id
    return None


@dataclass(frozen=True)
class Sharding:
    """Which shard of its split a clip goes to.

    Attributes:
      num_shards: None for one a prefix, as in the release; else so many a split, by a hash of the id, for
        corpora whose ids share a prefix or a disk that folds case.
    """

    num_shards: int | None = None

    def __post_init__(self) -> None:
        if self.num_shards is not None and not 1 <= self.num_shards <= MAX_SHARDS:
            raise ValueError(f"{self.num_shards} shards; give 1 to {MAX_SHARDS}")

    def shard_name(self, split: str, video_id: str) -> str:
        """A shard's file name without its suffix: `ab`, or `SPLIT-00000-of-00010`."""
        if self.num_shards is None:
            return shard_prefix(video_id)
        digest = hashlib.sha256(video_id.encode(errors="surrogateescape")).digest()
        return self._numbered(split, int.from_bytes(digest[:8], "big") % self.num_shards)

    def all_names(self, split: str) -> list[str]:
        """The names of a split's shards, where they are so many whatever the clips; else none."""
        return [self._numbered(split, number) for number in range(self.num_shards or 0)]

    def may_name(self, split: str, name: str) -> bool:
        """Whether a shard of some clip can have a name, by its form alone."""
        if self.num_shards is not None:
            return name in self.all_names(split)
        prefix = urllib.parse.unquote(name, errors="surrogateescape")
        return 0 < len(prefix) <= PREFIX_CHARACTERS and shard_prefix(prefix) == name

    def _numbered(self, split: str, number: int) -> str:
        return f"{split}-{number:05d}-of-{self.num_shards:05d}"

    @classmethod
    def of_shard(cls, split: str, name: str) -> "Sharding":
        """The sharding that a shard's name tells."""
        match = re.fullmatch(re.escape(split) + r"-\d{5}-of-(\d{5})", name)
        return cls(int(match[1])) if match and 1 <= int(match[1]) <= MAX_SHARDS else cls()


def parse_sharding(text: str) -> Sharding:
    """Reads `--sharding`: `audioset` or `hash:N`.

    Raises:
      SettingError: it is neither.
    """
    if text == AUDIOSET:
        return Sharding()
    kind, _, number = text.partition(":")
    try:
        if kind == "hash" and number.isdecimal():
            return Sharding(int(number))
    except ValueError as error:
        raise SettingError(f"--sharding={text}: {error}") from error
    raise SettingError(f"--sharding={text}: give {AUDIOSET}, or hash:N for N shards a split")


def shard_path(split: str, name: str) -> str:
    """Path of a shard below the feature folder, with `/` between its parts."""
    return f"{split}/{name}{SHARD_SUFFIX}"
