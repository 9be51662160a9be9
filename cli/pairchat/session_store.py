"""This module saves sessions on disk, one file for each name and relay, so that a killed program can resume its own.

A file holds the token and the texts without an outcome, and only its owner can read it. It is locked while a program
uses it, so that a second program under the same name can't take over the session of the first.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pairchat.bounded_read import read_file
from pairchat.saved_session import BadMemory, SessionState, decode, encode
from pairchat.user_folders import user_folder

# Seconds after which a session can't be resumed under any grace, and its file is removed. They count from the last
# sign of life of the program, not from the last change.
STALE = 24 * 3600.0
ALIVE_EVERY = 3600.0  # seconds between two signs of life of a program whose session doesn't change
_MAX_BYTES = (
    256 * 1_048_576
)  # the limit of a saved session: a full window of the longest texts, with each byte escaped, is smaller
_NAME_SHOWN = 64  # characters of the user's name in a file name; the hash makes the file name unique


def state_folder() -> Path | None:
    """Return the folder for state that outlives a program (XDG), or None if this user has no home folder."""
    return user_folder("XDG_STATE_HOME", ".local/state")


class SessionStore:
    """The saved session of one name."""

    def __init__(self, folder: Path, name: str, servers: Sequence[str]) -> None:
        """Open and lock the file. Raises OSError with its name, and BlockingIOError if another program uses it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = hashlib.sha256("\n".join([name, *sorted(servers)]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._path = folder / f"{quote(name.encode('utf-8', 'replace'), safe='')[:_NAME_SHOWN]}-{key}.json"
        self._lock = _lock(self._path)
        self._sign = time.monotonic()  # the last sign of life of this program
        _sweep(folder, self._path)

    def load(self) -> SessionState | None:
        """Return the saved session, or None if there is none that this version can read."""
        with suppress(OSError, BadMemory):
            return decode(read_file(self._path, _MAX_BYTES, patience=0.0))
        return None

    def save(self, memory: SessionState) -> None:
        """Replace the saved session. Raises OSError; the earlier state is then deleted, because it is out of date."""
        fresh = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(encode(memory))
            fresh.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
                self.forget()
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._sign = time.monotonic()

    def alive(self) -> None:
        """Give a sign of life at most once an hour, so that no other program removes the saved session."""
        if time.monotonic() - self._sign > ALIVE_EVERY:
            self._sign = time.monotonic()
            with suppress(OSError):
                os.utime(self._path)

    def forget(self) -> None:
        """Delete the saved session. Raises OSError."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock."""
        _unlock(self._path, self._lock)


def _lock(path: Path) -> int:
    """Lock a session and return the descriptor. Raises OSError, and BlockingIOError if another program has the lock."""
    lock = path.with_suffix(".lock")
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), lock.stat()):
                    return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # its last holder has removed this lock file meanwhile, so a new one is needed


def _unlock(path: Path, fd: int) -> None:
    with suppress(OSError):
        path.with_suffix(".lock").unlink()
    os.close(fd)


def _sweep(folder: Path, ours: Path) -> None:
    """Remove sessions that are stale and not in use, because their files hold private texts."""
    for path in {file.with_suffix(".json") for file in folder.iterdir()} - {ours}:
        if _fresh(path):
            continue
        with suppress(OSError):  # for example because it is in use
            lock = _lock(path)
            try:
                if not _fresh(path):
                    path.with_suffix(".new").unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
            finally:
                _unlock(path, lock)


def _fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime <= STALE
    except OSError:
        return False
