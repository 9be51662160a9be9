"""Sessions on disk, so that a program that was killed goes on where it was: one file for each name and relay.

A file holds the token and the texts without acknowledgement, readable by its owner only. It is locked while a program
uses it: of two programs under one name the second does not take the first one's session away.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pairchat.files import read_file
from pairchat.folders import user_folder
from pairchat.saved_session import BadMemory, SessionState, decode, encode

# Seconds after which nobody resumes a session any more, whatever its grace: what is left of it on disk is removed. They
# count from the last sign of the program, not from the last change.
STALE = 24 * 3600.0
ALIVE_EVERY = 3600.0  # seconds between two signs of a program in whose session nothing changes
_MAX_BYTES = (
    256 * 1_048_576
)  # of what was saved: a full window of the longest texts, each byte of them escaped, is less
_NAME_SHOWN = 64  # characters of the name in a file's name; what tells files apart is the hash


def state_folder() -> Path | None:
    """Where programs of this user keep what should outlive them; None: nowhere, this user has no home."""
    return user_folder("XDG_STATE_HOME", ".local/state")


class Store:
    """The session of one name."""

    def __init__(self, folder: Path, name: str, servers: Sequence[str]) -> None:
        """Open the file, and lock it. Raises OSError with its name; BlockingIOError if another program uses it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = hashlib.sha256("\n".join([name, *sorted(servers)]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._path = folder / f"{quote(name.encode('utf-8', 'replace'), safe='')[:_NAME_SHOWN]}-{key}.json"
        self._lock = _lock(self._path)
        self._sign = time.monotonic()  # the last one of this program
        _sweep(folder, self._path)

    def load(self) -> SessionState | None:
        """What was saved last; None if nothing was, or nothing that can be read and that this version understands."""
        with suppress(OSError, BadMemory):
            return decode(read_file(self._path, _MAX_BYTES, patience=0.0))
        return None

    def save(self, memory: SessionState) -> None:
        """Replace what was saved. Raises OSError; nothing is saved then: what was before would lie."""
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
        """This program still has the session, though nothing changes: nobody is to remove what was saved."""
        if time.monotonic() - self._sign > ALIVE_EVERY:
            self._sign = time.monotonic()
            with suppress(OSError):
                os.utime(self._path)

    def forget(self) -> None:
        """Nobody is to go on with this session. Raises OSError."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others have it."""
        _unlock(self._path, self._lock)


def _lock(path: Path) -> int:
    """The lock of a session. Raises OSError; BlockingIOError if a program has it."""
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
        os.close(fd)  # the one who had it has removed the file meanwhile: another one counts


def _unlock(path: Path, fd: int) -> None:
    with suppress(OSError):
        path.with_suffix(".lock").unlink()
    os.close(fd)


def _sweep(folder: Path, ours: Path) -> None:
    """Remove what nobody can resume any more, and nobody uses: it holds texts that somebody wrote."""
    for path in {file.with_suffix(".json") for file in folder.iterdir()} - {ours}:
        if _fresh(path):
            continue
        with suppress(OSError):  # in use, say
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
