"""Parses the names of tar members: a member's sample, and the target of a link."""

import posixpath
import re

from transforms.audio_shards.signatures import AUDIO_EXTENSIONS

# A dot in a time is a decimal point and does not end the key: the key of ID_1.5_11.5.wav is ID_1.5_11.5.
_TIMED = re.compile(r"(?P<base>[^.]+_\d+\.\d+(?:_\d+(?:\.\d+)?)?)\.(?P<extension>.+)", re.DOTALL)


def split_name(name: str) -> tuple[str, str, str]:
    """Split a member's name into its key, the key without folders, and the lower-case extension ("left.wav").

    The key is the path up to the first dot of the file name, as in WebDataset, but decimal points of times
    belong to it. A name without a dot is a key without extension. A name that begins with a dot has no key.
    """
    folder, slash, name = name.rpartition("/")
    timed = _TIMED.fullmatch(name)
    base, extension = (timed["base"], timed["extension"]) if timed else name.partition(".")[::2]
    return (folder + slash + base if base else ""), base, extension.lower()


def is_audio_extension(extension: str) -> bool:
    """Return whether the last part of an extension is an audio format's, such as "wav" of "left.wav"."""
    return extension.rpartition(".")[2] in AUDIO_EXTENSIONS


def normal_path(name: str) -> str:
    """Return a member's path in one spelling: "a/b" for "./a//b"."""
    return posixpath.normpath(name)


def target_path(link: str, target: str, is_symbolic: bool) -> str:
    """Return the path of the member that a link names.

    A symbolic link's target is relative to the link's folder; a hard link's target is a path in the archive.
    A target outside the archive ("../x", "/x") is returned as such; it matches only a member with that name.
    """
    return normal_path(posixpath.join(posixpath.dirname(link), target) if is_symbolic else target)
