"""Determines which shards of a feature folder were written by runs, from the files in `_run`.

    _run/shards.jsonl        all shards, written by a run at its end
    _run/own-shards.jsonl    all shards that a run found when it began; deleted at its end
    _run/before-SPLIT=NAME   written just before SPLIT/NAME.tfrecord appears; deleted at the run's end

A run that is killed at any moment leaves the last two, so each of its shards is known.
"""

import json
from collections.abc import Callable, Iterable

from transforms.audioset.layout import shard_path
from transforms.printable import json_text

# The folder for a run's own files; no split can have this name.
RUN_FOLDER = "_run"
MANIFEST_FILE = "manifest.json"
SHARDS_FILE = "shards.jsonl"
OWN_SHARDS_FILE = "own-shards.jsonl"
_NOTE_PREFIX = "before-"
# Cannot occur in the name of a split.
_NOTE_SEPARATOR = "="


def note_name(split: str, name: str) -> str:
    """Return the name of the file in `_run` that announces a shard."""
    return f"{_NOTE_PREFIX}{split}{_NOTE_SEPARATOR}{name}"


def is_note(file_name: str) -> bool:
    """Return whether the name of a file in `_run` has the form of `note_name`."""
    return file_name.startswith(_NOTE_PREFIX) and _NOTE_SEPARATOR in file_name


def noted_shard(file_name: str) -> str:
    """Return the path, below the feature folder, of the shard that a note announces."""
    split, _, name = file_name.removeprefix(_NOTE_PREFIX).partition(_NOTE_SEPARATOR)
    return shard_path(split, name)


def own_shards(file_names: Iterable[str], read: Callable[[str], bytes]) -> frozenset[str] | None:
    """Return the shards that runs wrote, or were about to write, to a feature folder.

    Args:
      file_names: names of the files in `_run`.
      read: returns the bytes of one of them.

    Returns:
      Their paths below the feature folder; None if `_run` has no file with this information.

    Raises:
      ValueError: a list is malformed; the message begins with the name of the file.
    """
    names = set(file_names)
    lists = [name for name in (SHARDS_FILE, OWN_SHARDS_FILE) if name in names]
    notes = [name for name in names if is_note(name)]
    if not lists and not notes:
        return None
    listed = (path for name in lists for path in _listed_paths(name, read(name)))
    return frozenset([*listed, *map(noted_shard, notes)])


def encode_own_shards(paths: Iterable[str]) -> bytes:
    """The bytes of `_run/own-shards.jsonl`."""
    return "".join(json_text({"path": path}) + "\n" for path in sorted(paths)).encode()


def _listed_paths(name: str, data: bytes) -> Iterable[str]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line:
            try:
                path = json.loads(line)["path"]
                if not isinstance(path, str):
                    raise TypeError(f"its path is {path!r}")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(f"{name}, line {number}: not a shard ({error!r})") from error
            yield path
