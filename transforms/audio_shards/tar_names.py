"""Names of a tar's members: which sample they belong to, and where a link leads."""

import posixpath
import re

# A dot in a time is a decimal point and ends no key: ID_30.000_40.000.wav is of ID_30.000_40.000.
_TIMED = re.compile(r"(?P<base>[^.]+_\d+\.\d+(?:_\d+(?:\.\d+)?)?)\.(?P<extension>.+)", re.DOTALL)


def split_name(name: str) -> tuple[str, str, str]:
    """A member's key, its key without folders, and its extension in lower case ("left.wav").

    The key is the path up to the first dot of the file's name, as in WebDataset, except that decimal points
    of times at its end belong to it. A name without a dot is a key without extension; one that begins with a
    dot has no key.
    """
    folder, slash, name = name.rpartition("/")
    timed = _TIMED.fullmatch(name)
    base, extension = (timed["base"], timed["extension"]) if timed else name.partition(".")[::2]
    return (folder + slash + base if base else ""), base, extension.lower()


def kind_of(extension: str) -> str:
    """The last part of an extension: "wav" of "left.wav"."""
    return extension.rpartition(".")[2]


def normal_path(name: str) -> str:
    """A member's path, so that two spellings of it are one: "a/b" for "./a//b"."""
    return posixpath.normpath(name)


def target_path(link: str, target: str, is_symbolic: bool) -> str:
    """The member that a link names: a symbolic link's is relative to its own folder, a hard link's is a path.

    What leads out of the archive stays so ("../x", "/x") and is no member's path, or is one that is so named.
    """
    return normal_path(posixpath.join(posixpath.dirname(link), target) if is_symbolic else target)
