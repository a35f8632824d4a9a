"""What the trainers share: checks of options, choosing held-out names, and writing files atomically."""

import argparse
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transforms.errors import SettingError


def check_at_least_one(options: argparse.Namespace, *names: str) -> None:
    """Check that options, if they are given, are at least 1.

    Raises:
      SettingError: An option is less than 1.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingError(f"--{name}={value}: give 1 or more")


def is_held_out(name: str | bytes, fraction: float) -> bool:
    """Return whether a clip or file is held out from training; a hash of its name decides."""
    digest = hashlib.sha256(name.encode() if isinstance(name, str) else name).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def check_new_model(folder: Path, name: str) -> None:
    """Create a folder for a model.

    Raises:
      SettingError: The folder cannot be created or written, or already contains a model.
    """
    if (folder / name).exists():
        raise SettingError(f"--output={folder}: already contains {name}; give another folder, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"--output={folder}: cannot be written ({error}); give another folder") from error


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file that appears whole or not at all; `write` gets a path with the same file name."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        write(temporary)
        temporary.replace(path)
