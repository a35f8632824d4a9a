"""Keeps all temporary files of a command in one folder, which it deletes; if it is killed, the next one does.

Beam, TensorFlow and the progress display create files in the system's temporary folder. If they are killed,
nothing identifies the owner of the files that stay there. So each command uses its own folder, and holds a
kernel lock on a file in it. The kernel releases the lock when the process ends for any reason.
"""

import fcntl
import glob
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.process.ending import before_end, on_end
from transforms.errors import SettingError

# Short, since paths of sockets in the folder are limited to about 100 bytes.
_PREFIX = "audioset-"
_LOCK = "lock"
_VARIABLE = "TMPDIR"
_PATIENCE_S = 1.0


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Lets this process and its children use a new folder for temporary files, and deletes it afterwards.

    It first deletes the folders of this user's killed commands.

    Raises:
      SettingError: the folder cannot be created.
    """
    before, default = os.environ.get(_VARIABLE), tempfile.tempdir
    try:
        place = tempfile.gettempdir()
        _sweep(place)
        registered = ExitStack()
        with before_end():
            folder, lock = _make(place)
            registered.enter_context(on_end(lambda: _delete(folder)))
    except OSError as error:
        raise SettingError(
            f"{_VARIABLE}={before or ''}: the folder for temporary files cannot be created ({error}); set "
            f"{_VARIABLE} to another folder"
        ) from error
    tempfile.tempdir = os.environ[_VARIABLE] = folder
    with registered:
        try:
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
    """Creates a folder, and returns it with the descriptor that holds its lock."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        path = os.path.join(folder, _LOCK)
        # Until it is locked, another command may delete the folder as a leftover of a killed command.
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            if _locks(lock) is not False and os.path.exists(path):
                return folder, lock
            os.close(lock)


def _sweep(place: str) -> None:
    for folder in glob.glob(os.path.join(glob.escape(place), f"{_PREFIX}*")):
        with suppress(OSError):
            _delete_if_dead(folder)


def _delete_if_dead(folder: str) -> None:
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    try:
        lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        os.rmdir(folder)  # fails if it is not empty
        return
    try:
        if _locks(lock):
            _delete(folder)
    finally:
        os.close(lock)


def _delete(folder: str) -> None:
    """Deletes a folder, its lock file last, so that the next command recognizes an incomplete deletion.

    Threads that still run may add files meanwhile, so it tries again for a second. On a busy machine a fifth
    of a second was enough for a single try.
    """
    ends_s = time.monotonic() + _PATIENCE_S
    while os.path.exists(folder) and time.monotonic() < ends_s:
        with suppress(OSError):
            for entry in list(os.scandir(folder)):
                if entry.name != _LOCK:
                    shutil.rmtree(entry.path, ignore_errors=True)  # does nothing with a file or a link
                    with suppress(OSError):
                        os.unlink(entry.path)
            if len(os.listdir(folder)) <= 1:
                Path(folder, _LOCK).unlink(missing_ok=True)
                os.rmdir(folder)


def _locks(descriptor: int) -> bool | None:
    """Locks a file; returns False if another process has the lock, None if the filesystem has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
