"""A private folder for caches, where the user's home cannot hold them.

Keras, Matplotlib, Beam and this project store files below the home folder. A process may not have a usable
one: its user id has no entry in the passwd file, `HOME` does not exist or belongs to another user, or the
disk is read-only or full. `redirect_caches` detects this before those libraries are imported and sets the
variables that they read. Child processes inherit the variables.

Each process that uses the private folder holds a shared `flock` on a file in it. The process that created it
removes it when it ends. If that process was killed, the next process that needs a folder removes it.
"""

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

# A folder with released files, which is searched before the cache folder.
ASSETS_DIR_VARIABLE = "VGGISH_ASSETS_DIR"
# The private folder, in the environment of all processes that use it.
PRIVATE_VARIABLE = "AUDIOSET_BEAM_PRIVATE_HOME"
# The cache folder that is not writable, but may be readable: a read-only image can contain the weights.
READ_ONLY_CACHE_VARIABLE = "AUDIOSET_BEAM_READ_ONLY_CACHE"

# Variables that libraries read before they use the home folder.
_LIBRARY_VARIABLES = ("KERAS_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
_PREFIX = "audioset-beam-home-"
_LOCK_FILE = ".lock"
# One disk block: an empty file can be created even on a full disk.
_PROBE_BYTES = 4096

_made: list[tuple[Path, int]] = []  # the private folder, and the process that made it
_locks: list[int] = []  # descriptors; a lock lasts as long as its descriptor


def redirect_caches() -> None:
    """Point libraries to a private folder if the home or cache folder is not writable, and log a warning.

    Variables that the user set to a writable folder stay as they are.

    Raises:
      FileNotFoundError: there is no folder for temporary files either.
    """
    private = os.environ.get(PRIVATE_VARIABLE)
    if private:
        if _join(Path(private)):
            return
        for variable in ("HOME", "XDG_CACHE_HOME", *_LIBRARY_VARIABLES):  # any user may create that path
            if os.environ.get(variable, "").startswith(private):
                del os.environ[variable]
    home = os.path.expanduser("~")
    home_problem = _problem(home)
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache:
        cache_problem = _problem(cache, may_create=True)
    else:
        cache = os.path.join(home, ".cache")
        cache_problem = home_problem or _problem(cache, may_create=True)
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
    import logging  # not at the top: decoder processes import this module and must start in 0.1 s

    logging.getLogger("audioset_beam").warning(
        "audioset-beam: %s; caches are in %s and are removed at the end. To keep them, set %s to a folder "
        "that you can write",
        home_problem or cache_problem,
        folder,
        "HOME" if home_problem else "XDG_CACHE_HOME",
    )


def _set_for_home(home: str, folder: Path) -> None:
    """Set the variables that libraries read instead of the home folder.

    A readable home folder stays `HOME`, since it may contain credentials.
    """
    if not (os.path.isabs(home) and os.path.isdir(home) and os.access(home, os.X_OK)):
        os.environ["HOME"] = str(folder)
    for variable in _LIBRARY_VARIABLES:
        given = os.environ.get(variable)
        if not given or _problem(given, may_create=True):
            os.environ[variable] = str(folder / variable.lower())


def _problem(folder: str, may_create: bool = False) -> str | None:
    """Return why a folder cannot hold caches; None if it can.

    Args:
      may_create: whether the folder may be missing if it can be created.
    """
    if not os.path.isabs(folder):
        if folder.startswith("~"):  # expanduser found no home folder
            return f"user id {os.geteuid()} has no home"
        return f"{folder} is not an absolute path"
    while may_create and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    try:
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode):
            return f"{folder} is not a folder"
        if not may_create and not _is_ours(status):
            return f"{folder} belongs to another user"
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    return None


def _is_ours(status: os.stat_result) -> bool:
    """Return whether this user owns a home folder or belongs to a group that may write to it.

    Writability is not enough: root can write to every home, and would leave files that their owner cannot
    change. Images for arbitrary user ids have a home that group 0 may write to.
    """
    if status.st_uid == os.geteuid():
        return True
    return bool(status.st_mode & stat.S_IWGRP) and status.st_gid in {os.getegid(), *os.getgroups()}


def _make_folder() -> Path:
    """Create this process's private folder with mode 0700, and remove those of dead processes."""
    parent = Path(tempfile.gettempdir())
    prefix = f"{_PREFIX}{os.geteuid()}-"
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                _remove_unused(folder)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    new = folder / f"{_LOCK_FILE}.new"
    _lock(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    new.rename(folder / _LOCK_FILE)  # other processes find it only when it is locked
    atexit.register(remove_own_folder)
    _made.append((folder, os.getpid()))
    return folder


def _join(folder: Path) -> bool:
    """Prevent the removal of another process's folder while this one runs; return False if it is gone."""
    try:
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    _lock(descriptor)
    return (folder / _LOCK_FILE).exists()


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _locks.append(descriptor)


def remove_own_folder() -> None:
    """Remove the private folder that this process made, if any; `pipeline.process.ending` calls it too."""
    while _made:
        _end(*_made.pop())


def _end(folder: Path, pid: int) -> None:
    if os.getpid() != pid:  # a fork of the process that created it
        return
    while _locks:
        os.close(_locks.pop())
    with suppress(OSError):
        _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    """Remove a private folder unless a process uses it.

    Raises:
      OSError: a process uses it, or it has no lock file.
    """
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
