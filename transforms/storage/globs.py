"""Matches globs with the rules of bash (with `globstar`) and Python's `glob`, and normalizes paths.

| part | matches |
|---|---|
| `*`, `?` | any characters, one character; never a slash |
| `[abc]`, `[!abc]`, `[a-z]` | one character in a set, or not in it; `[*]` is a star, `[[]` a bracket |
| `**`, alone between slashes | zero or more folders; at the end all files below |
| anything else, including a backslash | itself |

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
    """A nondeterministic state machine that matches a path, name by name, to the parts of a glob.

    The parts are those after the glob's literal folder. A state is the number of parts that are matched; a
    path may be in several states. Example: for the glob `**/*.wav` and the path `a/b.wav`,

        before the path   {0, 1}   `**` may match no folder, so `*.wav` may be next
        after `a`         {0, 1}   `**` matches `a`
        after `b.wav`     {0, 1, 2}   2 is the number of parts: the path matches

    Args:
      parts: the parts between slashes.

    Raises:
      ValueError: `**` has other characters next to it, or a part is `..`.
    """

    def __init__(self, parts: Iterable[str]):
        # `a/./b` is `a/b`.
        self._parts = [part for part in parts if part != "."]
        for part in self._parts:
            if _ANY_FOLDERS in part and part != _ANY_FOLDERS:
                raise ValueError(
                    f"{part}: ** must be alone between slashes; write **/{part.replace('**', '*')} for all "
                    "folders below, or * for this one"
                )
            if part == "..":
                raise ValueError(".. after a wildcard is not supported; write the folder itself")
        if self._parts and self._parts[-1] == _ANY_FOLDERS:
            self._parts.append("*")
        self._matchers = [_matcher(part) for part in self._parts]
        self.start = self._skip_any_folders({0})

    @property
    def prefix(self) -> str:
        """The literal beginning of the first part, up to its first wildcard."""
        return _MAGIC.split(self._parts[0], maxsplit=1)[0]

    def step(self, states: States, name: str, hidden: bool = False) -> States:
        """Return the states after the name of a folder or file; none if no path that begins so matches.

        If `hidden`, `*`, `?`, `[...]` and `**` match names that begin with a dot.
        """
        is_visible = hidden or not name.startswith(".")
        after = set()
        for state in states:
            if state == len(self._parts):
                continue
            part = self._parts[state]
            if part == _ANY_FOLDERS:
                if is_visible:
                    after.add(state)
            elif (is_visible or part.startswith(".")) and self._matchers[state](name):
                after.add(state + 1)
        return self._skip_any_folders(after)

    def matches(self, states: States) -> bool:
        """Return whether a file in these states matches the glob."""
        return len(self._parts) in states

    def may_match_below(self, states: States) -> bool:
        """Return whether a path below a folder in these states may match the glob."""
        return any(state < len(self._parts) for state in states)

    def literal_names(self, states: States) -> list[str] | None:
        """Return the only names that can match next; None if the next part has a wildcard."""
        parts = [self._parts[state] for state in states if state < len(self._parts)]
        return None if any(map(has_magic, parts)) else sorted({unescape(part) for part in parts})

    def _skip_any_folders(self, states: set[int]) -> States:
        """Add the states after each `**`, which may match no folder."""
        for state in sorted(states):
            while state < len(self._parts) and self._parts[state] == _ANY_FOLDERS:
                state += 1
                states.add(state)
        return frozenset(states)


@functools.cache
def _matcher(part: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(part)).match


def has_magic(pattern: str) -> bool:
    """Return whether a text is a glob with wildcards; a path from `escape` is not."""
    return bool(_MAGIC.search(_ESCAPED.sub("", pattern)))


def escape(path: str) -> str:
    """Return a glob that matches only this path."""
    return _MAGIC.sub(lambda match: f"[{match[0]}]", path)


def unescape(pattern: str) -> str:
    """Return the path that a glob without wildcards matches."""
    return _ESCAPED.sub(r"\1", pattern)


def split_glob(pattern: str, exists: Callable[[str], bool] = lambda path: False) -> tuple[str, Glob]:
    """Split a pattern into its literal folder and a glob for the rest.

    An existing folder whose name as a glob would not match itself, such as `[2019] Live`, is literal.

    Args:
      pattern: a path, or an address such as `gs://bucket/*.wav`; a slash at the end means `/*`.
      exists: returns whether a path exists.

    Returns:
      The folder without a slash at its end (`""` for the working folder, `"/"` for the root), and the glob.

    Raises:
      ValueError: a bucket's name has wildcards, or as in `Glob`.
    """
    root, rest = "", pattern + "*" if pattern.endswith("/") else pattern
    if address := _ADDRESS.fullmatch(rest):
        root, rest = address["root"], address["rest"]
        if has_magic(root):
            raise ValueError("the name of a bucket or server cannot have wildcards; write it out")
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
    """Return the path of a name in a folder from `split_glob`."""
    return f"{folder}{name}" if folder in ("", "/") else f"{folder}/{name}"


def matches_below(pattern: str, folder: str) -> bool:
    """Return whether a glob can match files in a folder or below it."""
    try:
        base, glob = split_glob(pattern)
    except ValueError:
        return False
    if base and not f"{folder}/".startswith(base if base == "/" else f"{base}/"):
        return False
    below, states = folder[len(base) :].strip("/"), glob.start
    for name in below.split("/") if below else ():
        states = glob.step(states, name)
    return glob.may_match_below(states)


def plain_path(text: str) -> str:
    """Normalize a path that a user types: expand `~`, remove `file://` and repeated slashes.

    An address such as `gs://bucket/x` does not change.
    """
    if match := _FILE_URL.match(text):
        path = text[match.end() :]
        text = path if os.path.lexists(path) else unquote(path)
    elif "://" in text:
        return text
    return re.sub("/+", "/", os.path.expanduser(text))
