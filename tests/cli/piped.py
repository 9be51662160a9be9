"""`pairchat` without a terminal."""

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Self

from tests.cli.children import Launch, fresh
from tests.cli.home import Home
from tests.cli.scripted import PATIENCE

Start = Callable[..., "Piped"]


class Piped:
    """A running `pairchat`. Its three streams are pipes, unless the test names a file or `subprocess.DEVNULL`."""

    def __init__(
        self,
        *args: str,
        server: str,
        home: Home | None = None,
        launch: Launch = fresh,
        stdin: IO[str] | int | None = None,
        stdout: IO[str] | None = None,
        **variables: str,
    ) -> None:
        self.home = home or Home()
        theirs, ours = _input(stdin)
        self._stdin = ours
        ours_out, theirs_out = (None, os.dup(stdout.fileno())) if stdout is not None else _pipe()
        self._stdout = ours_out
        self._stderr, theirs_err = _pipe()
        streams = (theirs, theirs_out, theirs_err)
        self._child = launch(args, self.home.environment(server, **variables), streams, False)
        for fd in streams:
            os.close(fd)

    def type(self, data: bytes) -> None:
        assert self._stdin
        self._stdin.write(data)

    def end_input(self) -> None:
        assert self._stdin
        self._stdin.close()

    def line(self) -> str:
        """Return the next line of its standard output."""
        assert self._stdout
        return str(self._stdout.readline(), "utf-8")

    def notice(self) -> str:
        """Return the next line of its standard error."""
        return str(self._stderr.readline(), "utf-8").rstrip("\n")

    def stop_reading(self) -> None:
        """Close the reading end of its standard output."""
        assert self._stdout
        self._stdout.close()
        self._stdout = None

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def ended(self) -> tuple[int, str, list[str]]:
        """Wait for its end. Returns the exit status, and the unread rest of standard output and standard error."""
        if self._stdin:
            self._stdin.close()
        with ThreadPoolExecutor(2) as readers:
            out, err = (readers.submit(_rest, stream) for stream in (self._stdout, self._stderr))
            try:
                status = self._child.wait(PATIENCE)
            finally:
                self._child.kill()
            told = err.result()
            assert "Traceback" not in told, told
            return status, out.result(), told.splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._stdin, self._stdout, self._stderr):
            if stream is not None:
                stream.close()
        self.home.close()


def _pipe() -> tuple[IO[bytes], int]:
    """Return the end that the test reads, and the end that the process writes."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), writing


def _input(wanted: IO[str] | int | None) -> tuple[int, IO[bytes] | None]:
    """Return the end that the process reads, and, if it is a pipe, the end that the test writes."""
    if wanted == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDONLY), None
    if wanted is not None and not isinstance(wanted, int):
        return os.dup(wanted.fileno()), None
    reading, writing = os.pipe()
    return reading, os.fdopen(writing, "wb", buffering=0)


def _rest(stream: IO[bytes] | None) -> str:
    return stream.read().decode() if stream is not None else ""
