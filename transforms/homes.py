"""A private folder for caches, where the user's home cannot hold them.

Keras, Matplotlib, Beam and this project keep files below the home folder. A process may have no such folder:
its user id has no entry in the passwd file, `HOME` does not exist or is another user's, the disk is read-only
or full. `redirect_caches` finds that out before those libraries are imported and sets the variables that they
read. Child processes inherit the variables.

Each process that uses the private folder holds a shared `flock` on a file in it. The process that made it
removes it at its end. A killed process cannot; then the next process that needs a folder removes it.
"""

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

# The private folder, in the environment of all processes that use it.
PRIVATE_VARIABLE = "AUDIOSET_BEAM_PRIVATE_HOME"
# The cache that is not written any more, but may be read: a read-only image can hold the weights there.
READ_ONLY_CACHE_VARIABLE = "AUDIOSET_BEAM_READ_ONLY_CACHE"

# What libraries read before they look for a home.
_OF_LIBRARIES = ("KERAS_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
_PREFIX = "audioset-beam-home-"
_LOCK_FILE = ".lock"
# A disk block: an empty file can be made on a full disk.
_PROBE_BYTES = 4096

_locks: list[int] = []  # descriptors; a lock lasts as long as its descriptor


def redirect_caches() -> None:
    """Points libraries to a private folder if the home or the cache folder cannot be written, and says so.

    Variables that the user set for a folder that can be written stay as they are.

    Raises:
      FileNotFoundError: there is no folder for temporary files either.
    """
    private = os.environ.get(PRIVATE_VARIABLE)
    if private:
        if _join(Path(private)):
            return
        for variable in ("HOME", "XDG_CACHE_HOME", *_OF_LIBRARIES):  # anybody may make that path again
            if os.environ.get(variable, "").startswith(private):
                del os.environ[variable]
    home = os.path.expanduser("~")
    home_problem = _problem(home)
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache:
        cache_problem = _problem(cache, makes=True)
    else:
        cache = os.path.join(home, ".cache")
        cache_problem = home_problem or _problem(cache, makes=True)
    if not home_problem and not cache_problem:
        return
    folder = _make_folder()
    os.environ[PRIVATE_VARIABLE] = str(folder)
    if home_problem:
        _set_for_home(home, folder)
    if cache_problem:
        if os.path.isabs(cache):
            os.environ[READ_ONLY_CACHE_VARIABLE] = cache
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    import logging  # decoder processes come here too, and start in 0.1 s

    logging.getLogger("audioset_beam").warning(
        "audioset-beam: %s; caches are in %s and are removed at the end. To keep them, set %s to a folder "
        "that you can write",
        home_problem or cache_problem,
        folder,
        "HOME" if home_problem else "XDG_CACHE_HOME",
    )


def _set_for_home(home: str, folder: Path) -> None:
    """Sets what libraries read in place of the home folder.

    A home that can be read stays `HOME`: credentials may be in it.
    """
    if not (os.path.isabs(home) and os.path.isdir(home) and os.access(home, os.X_OK)):
        os.environ["HOME"] = str(folder)
    for variable in _OF_LIBRARIES:
        given = os.environ.get(variable)
        if not given or _problem(given, makes=True):
            os.environ[variable] = str(folder / variable.lower())


def _problem(folder: str, makes: bool = False) -> str | None:
    """Why caches cannot be kept in a folder; None if they can.

    Args:
      makes: the folder may be absent, if it can be made.
    """
    if not os.path.isabs(folder):
        if folder.startswith("~"):  # expanduser found nothing to replace it with
            return f"user id {os.geteuid()} has no home"
        return f"{folder} is not an absolute path"
    while makes and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    try:
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode):
            return f"{folder} is not a folder"
        if not makes and not _is_ours(status):
            return f"{folder} belongs to another user"
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    return None


def _is_ours(status: os.stat_result) -> bool:
    """Whether a home folder is meant for this user, as its owner or by a group that may write there.

    Root can write to every home, and would leave files that their owner cannot change. Images for arbitrary
    user ids have a home that group 0 may write.
    """
    if status.st_uid == os.geteuid():
        return True
    return bool(status.st_mode & stat.S_IWGRP) and status.st_gid in {os.getegid(), *os.getgroups()}


def _make_folder() -> Path:
    """Makes this process's private folder, of mode 0700, and removes those of dead processes."""
    place = Path(tempfile.gettempdir())
    prefix = f"{_PREFIX}{os.geteuid()}-"
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                _remove_unused(folder)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    new = folder / f"{_LOCK_FILE}.new"
    _lock(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    new.rename(folder / _LOCK_FILE)  # nobody finds it before it is locked
    atexit.register(_end, folder, os.getpid())
    return folder


def _join(folder: Path) -> bool:
    """Keeps a folder of another process from being removed while this one lives; False if it is gone."""
    try:
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    _lock(descriptor)
    return (folder / _LOCK_FILE).exists()


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _locks.append(descriptor)


def _end(folder: Path, pid: int) -> None:
    if os.getpid() != pid:  # a fork of the process that made it
        return
    while _locks:
        os.close(_locks.pop())
    with suppress(OSError):
        _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    """Removes a private folder unless a process uses it.

    Raises:
      OSError: a process uses it, or it has no lock file.
    """
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
