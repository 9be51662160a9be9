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

from pairchat.folders import user_folder
from pairchat.memory import BadMemory, Memory, decode, encode

# Seconds after which nobody resumes a session any more, whatever its grace: what is left of it on disk is removed.
STALE = 24 * 3600.0
_NAME_SHOWN = 64  # characters of the name in a file's name; what tells files apart is the hash


def state_folder() -> Path | None:
    """Where programs of this user keep what should outlive them; None: nowhere, this user has no home."""
    return user_folder("XDG_STATE_HOME", ".local/state")


class Store:
    """The session of one name."""

    def __init__(self, folder: Path, name: str, servers: Sequence[str]) -> None:
        """Open the file, and lock it. Raises OSError; BlockingIOError if another program uses it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(folder)
        key = hashlib.sha256("\n".join([name, *sorted(servers)]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._path = folder / f"{quote(name.encode('utf-8', 'replace'), safe='')[:_NAME_SHOWN]}-{key}.json"
        self._lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise

    def load(self) -> Memory | None:
        """What was saved last; None if nothing was, or nothing that this version understands."""
        with suppress(FileNotFoundError, BadMemory):
            return decode(self._path.read_bytes())
        return None

    def save(self, memory: Memory) -> None:
        """Replace what was saved, whole or not at all. Raises OSError."""
        fresh = self._path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(encode(memory))
        fresh.replace(self._path)

    def forget(self) -> None:
        """Nobody is to go on with this session."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)


def _sweep(folder: Path) -> None:
    """Remove what nobody can resume any more: it holds texts that somebody wrote."""
    for path in folder.glob("*.json"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()
