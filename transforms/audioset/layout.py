"""The layout of a feature folder: `SPLIT/PREFIX.tfrecord`, as in the AudioSet release."""

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

# File names have at most 255 bytes. The longest name with a split in it is a numbered shard's temporary name:
# ".SPLIT-00000-of-00010.tfrecord.", 32 digits and ".tmp", 62 characters more than the split.
MAX_SPLIT_CHARACTERS = 128

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_split(split: str) -> str:
    """Return `split` if it can name a folder.

    Raises:
      SettingError: it is empty; has characters other than letters, digits, `_`, `.` and `-`; begins with one
        of those three (`_run` is the run's own folder); or has more than 128 characters.
    """
    if len(split) > MAX_SPLIT_CHARACTERS:
        raise SettingError(
            f"split {split[:20]!r}...: has {len(split)} characters, but it names a folder and files; "
            f"give at most {MAX_SPLIT_CHARACTERS}"
        )
    if not _SPLIT.fullmatch(split):
        raise SettingError(
            f"split {split!r}: a split names a folder; give letters, digits, '_', '.', '-', "
            "beginning with a letter or digit"
        )
    return split


def shard_prefix(video_id: str) -> str:
    """Return the first two characters of an id, which name its shard.

    Ids of the release have only `A-Z a-z 0-9 - _`. Characters that a path cannot contain (slashes, control
    characters) are percent-encoded, so that no id can leave its folder. A leading dot is encoded too, since
    globs skip such files.
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
    """Return two ids whose prefixes differ only in case, which some disks ignore; None if there are none."""
    first_ids: dict[str, str] = {}
    for video_id in video_ids:
        prefix = shard_prefix(video_id)
        other = first_ids.setdefault(prefix.casefold(), video_id)
        if shard_prefix(other) != prefix:
            return other, video_id
    return None


@dataclass(frozen=True)
class Sharding:
    """Assigns clips to the shards of their split.

    Attributes:
      num_shards: None for one shard per prefix, as in the release; otherwise the number of shards per split.
        A clip's shard is then a hash of its id. Use this if many ids share a prefix, or if the disk ignores
        case.
    """

    num_shards: int | None = None

    def __post_init__(self) -> None:
        if self.num_shards is not None and not 1 <= self.num_shards <= MAX_SHARDS:
            raise ValueError(f"the number of shards is {self.num_shards}; give 1 to {MAX_SHARDS}")

    def shard_name(self, split: str, video_id: str) -> str:
        """Return the name of a clip's shard without suffix: `ab`, or `SPLIT-00000-of-00010`."""
        if self.num_shards is None:
            return shard_prefix(video_id)
        digest = hashlib.sha256(video_id.encode(errors="surrogateescape")).digest()
        return self._numbered(split, int.from_bytes(digest[:8], "big") % self.num_shards)

    def all_names(self, split: str) -> list[str]:
        """Return the names of a split's shards; [] if they depend on the clips' ids."""
        return [self._numbered(split, number) for number in range(self.num_shards or 0)]

    def may_name(self, split: str, name: str) -> bool:
        """Return whether the form of a name is a shard's."""
        if self.num_shards is not None:
            return name in self.all_names(split)
        prefix = urllib.parse.unquote(name, errors="surrogateescape")
        return 0 < len(prefix) <= PREFIX_CHARACTERS and shard_prefix(prefix) == name

    def _numbered(self, split: str, number: int) -> str:
        return f"{split}-{number:05d}-of-{self.num_shards:05d}"

    @classmethod
    def of_shard(cls, split: str, name: str) -> "Sharding":
        """Infer the sharding from a shard's name."""
        match = re.fullmatch(re.escape(split) + r"-\d{5}-of-(\d{5})", name)
        return cls(int(match[1])) if match and 1 <= int(match[1]) <= MAX_SHARDS else cls()


def parse_sharding(text: str) -> Sharding:
    """Parse `--sharding`: `audioset` or `hash:N`.

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
    raise SettingError(f"--sharding={text}: give {AUDIOSET}, or hash:N for N shards per split")


def shard_path(split: str, name: str) -> str:
    """Return the path of a shard below the feature folder, with `/` as separator."""
    return f"{split}/{name}{SHARD_SUFFIX}"
