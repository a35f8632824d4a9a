"""All temporary files of a command in one folder, which goes with it; or if it is killed, with the next one.

Beam, TensorFlow and the progress of a run have files below the system's temporary folder. What they leave
there when they are killed bears no name of an owner. So a command has them in a folder of its own, in
which it holds the kernel's lock on a file: that goes with the process, whatever ends it.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.process.ending import on_end
from transforms.errors import SettingError

# Short, since sockets below it may have paths of some hundred bytes.
_PREFIX = "audioset-"
_LOCK = "lock"
_VARIABLE = "TMPDIR"


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Has this process and its children put their temporary files in a new folder, which is then deleted.

    Deletes those of this user's killed commands before.

    Raises:
      SettingError: there is no place for it.
    """
    before, default = os.environ.get(_VARIABLE), tempfile.tempdir
    try:
        place = tempfile.gettempdir()
        _sweep(place)
        folder, lock = _make(place)
    except OSError as error:
        raise SettingError(
            f"{_VARIABLE}={before or ''}: no folder for temporary files can be made ({error}); give another"
        ) from error
    tempfile.tempdir = os.environ[_VARIABLE] = folder
    try:
        with on_end(lambda: _delete(folder)):
            yield
    finally:
        tempfile.tempdir = default
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
        _delete(folder)
        os.close(lock)


def _make(place: str) -> tuple[str, int]:
    """A new folder, and the descriptor that holds its lock."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        path = os.path.join(folder, _LOCK)
        # Until it is locked, another command may take the folder for a dead one's.
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            if _locks(lock) is not False and os.path.exists(path):
                return folder, lock
            os.close(lock)


def _sweep(place: str) -> None:
    with suppress(OSError):
        names = [name for name in os.listdir(place) if name.startswith(_PREFIX)]
        for name in names:
            with suppress(OSError):
                _delete_if_dead(os.path.join(place, name))


def _delete_if_dead(folder: str) -> None:
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    try:
        lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        os.rmdir(folder)  # which fails if there is anything in it
        return
    try:
        if _locks(lock):
            _delete(folder)
    finally:
        os.close(lock)


def _delete(folder: str) -> None:
    """Deletes a folder, and that it is a command's last, so that the next one finds what is left."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name == _LOCK:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)
        if len(os.listdir(folder)) <= 1:
            os.unlink(os.path.join(folder, _LOCK))
            os.rmdir(folder)


def _locks(descriptor: int) -> bool | None:
    """Takes the lock on a file: False if another process has it, None if this filesystem has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
