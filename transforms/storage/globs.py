"""Globs as bash (with `globstar`) and Python's `glob` have them, and paths as users type them.

| part | matches |
|---|---|
| `*`, `?` | any characters, one character; never a slash |
| `[abc]`, `[!abc]`, `[a-z]` | one character of a set, or outside of it; `[*]` is a star, `[[]` a bracket |
| `**`, alone between slashes | any number of folders, none too; at the end all files below |
| anything else, a backslash too | itself |

A name that begins with a dot is hidden: only a part that begins with a dot matches it.
"""

import fnmatch
import functools
import os
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

_ANY_FOLDERS = "**"
_MAGIC = re.compile(r"[*?[]")
_ESCAPED = re.compile(r"\[([*?[])\]")
_ADDRESS = re.compile(r"(?P<root>[A-Za-z][A-Za-z0-9+.-]*://[^/]*)/?(?P<rest>.*)", re.DOTALL)
_FILE_URL = re.compile(r"file://(?:localhost)?(?=/)")

States = frozenset[int]


class Glob:
    """The parts of a glob behind its literal folder, as a machine that reads a path name by name.

    A state is the number of parts that are matched. A path may be in several: after `a` of `a/b.wav` the glob
    `**/*.wav` may still be in its first part, or before its second.

    Args:
      parts: between slashes.

    Raises:
      ValueError: `**` stands beside other characters, or a part is `..`.
    """

    def __init__(self, parts: Iterable[str]):
        # `a/./b` is `a/b`.
        self._parts = [part for part in parts if part != "."]
        for part in self._parts:
            if _ANY_FOLDERS in part and part != _ANY_FOLDERS:
                raise ValueError(
                    f"{part}: ** stands alone between slashes; write **/{part.replace('**', '*')} for all "
                    "folders below, or * for this one"
                )
            if part == "..":
                raise ValueError(".. behind a wildcard leads anywhere; write the folder itself")
        if self._parts and self._parts[-1] == _ANY_FOLDERS:
            self._parts.append("*")
        self._matchers = [_matcher(part) for part in self._parts]
        self.start = self._with_no_folder({0})

    @property
    def prefix(self) -> str:
        """What every path begins with, as far as its first wildcard."""
        return _MAGIC.split(self._parts[0], maxsplit=1)[0]

    def step(self, states: States, name: str, hidden: bool = False) -> States:
        """The states after one more name.

        Args:
          states: those before it.
          name: of a folder or file.
          hidden: whether `*`, `?`, `[...]` and `**` match names that begin with a dot.

        Returns:
          The states after it; none if the glob matches no such path.
        """
        is_shown = hidden or not name.startswith(".")
        after = set()
        for state in states:
            if state == len(self._parts):
                continue
            part = self._parts[state]
            if part == _ANY_FOLDERS:
                if is_shown:
                    after.add(state)
            elif (is_shown or part.startswith(".")) and self._matchers[state](name):
                after.add(state + 1)
        return self._with_no_folder(after)

    def accepts(self, states: States) -> bool:
        """Whether a file in these states is matched."""
        return len(self._parts) in states

    def goes_on(self, states: States) -> bool:
        """Whether something below a folder in these states may be matched."""
        return any(state < len(self._parts) for state in states)

    def only_names(self, states: States) -> list[str] | None:
        """The only names that can come next; None if any may."""
        parts = [self._parts[state] for state in states if state < len(self._parts)]
        return None if any(map(has_magic, parts)) else sorted({unescape(part) for part in parts})

    def _with_no_folder(self, states: set[int]) -> States:
        for state in sorted(states):
            while state < len(self._parts) and self._parts[state] == _ANY_FOLDERS:
                state += 1
                states.add(state)
        return frozenset(states)


@functools.cache
def _matcher(part: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(part)).match


def has_magic(pattern: str) -> bool:
    """Whether a text is a glob, and no mere path; what `escape` returns is none."""
    return bool(_MAGIC.search(_ESCAPED.sub("", pattern)))


def escape(path: str) -> str:
    """A glob that matches a path and nothing else."""
    return _MAGIC.sub(lambda match: f"[{match[0]}]", path)


def unescape(pattern: str) -> str:
    """The path of a glob without wildcards."""
    return _ESCAPED.sub(r"\1", pattern)


def split_glob(pattern: str, exists: Callable[[str], bool] = lambda path: False) -> tuple[str, Glob]:
    """A glob's literal folder, and the rest.

    A folder that exists by a name such as `[2019] Live`, which as a glob would not match itself, is literal.

    Args:
      pattern: a path, or an address such as `gs://bucket/*.wav`; at its end a slash stands for `/*`.
      exists: whether a path exists.

    Returns:
      The folder, without a slash at its end: `""` for the working folder, `"/"` for the root.

    Raises:
      ValueError: a bucket's name has wildcards, or see `Glob`.
    """
    root, rest = "", pattern + "*" if pattern.endswith("/") else pattern
    if address := _ADDRESS.fullmatch(rest):
        root, rest = address["root"], address["rest"]
        if has_magic(root):
            raise ValueError("a bucket or server has no wildcards in its name; write it out")
    elif rest.startswith("/"):
        root, rest = "/", rest[1:]
    folder, parts = root, rest.split("/")
    while len(parts) > 1:
        name = unescape(parts[0])
        if has_magic(parts[0]):
            name = parts[0]
            if _matcher(name)(name) or not exists(join(folder, name)):
                break
        folder = join(folder, name)
        del parts[0]
    return folder, Glob(parts)


def join(folder: str, name: str) -> str:
    """Path of a name in a folder of `split_glob`."""
    return f"{folder}{name}" if folder in ("", "/") else f"{folder}/{name}"


def matches_below(pattern: str, folder: str) -> bool:
    """Whether a glob looks for files in a folder, or in folders below it."""
    try:
        base, glob = split_glob(pattern)
    except ValueError:
        return False
    if base and not f"{folder}/".startswith(base if base == "/" else f"{base}/"):
        return False
    below, states = folder[len(base) :].strip("/"), glob.start
    for name in below.split("/") if below else ():
        states = glob.step(states, name)
    return glob.goes_on(states)


def plain_path(text: str) -> str:
    """A path as a user types it, as the file systems know it: `~` and `file://` are written out.

    An address such as `gs://bucket/x`, and what is no path at all, stays as it is.
    """
    if match := _FILE_URL.match(text):
        path = text[match.end() :]
        text = path if os.path.lexists(path) else unquote(path)
    elif "://" in text:
        return text
    return re.sub("/+", "/", os.path.expanduser(text))
