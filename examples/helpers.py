"""What the trainers share: which names are held out, and files that appear whole."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transforms.errors import SettingError


def is_held_out(name: str | bytes, fraction: float) -> bool:
    """Whether a clip, or a file, is among those that nothing is trained on: by a hash of its name."""
    digest = hashlib.sha256(name.encode() if isinstance(name, str) else name).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def check_new_model(folder: Path, name: str) -> None:
    """Makes a folder for a model.

    Raises:
      SettingError: it cannot be made and written, or holds a model already.
    """
    if (folder / name).exists():
        raise SettingError(f"--output={folder}: holds a {name} already; give another folder, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"--output={folder}: cannot be written ({error}); give another folder") from error


def put(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file that appears whole or not at all; `write` takes a path with the same name."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        write(temporary)
        temporary.replace(path)
