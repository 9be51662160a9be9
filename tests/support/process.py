"""This module runs child processes. Tests can wait for their output, and failures show it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

PATIENCE = 10.0  # seconds; only a failing test waits that long, so a busy machine costs nothing else
POLL = 0.01  # seconds between two checks of a condition


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Poll until the condition returns a true value, and return that value.

    Raises AssertionError that names `what` after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        time.sleep(POLL)


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def runs(pid: int) -> bool:
    """Return True if the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def own_environment() -> dict[str, str]:
    """Return our environment without the relay's settings, which would change the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}


def is_stopped(pid: int) -> bool:
    """Return True if a process is stopped. Before SIGSTOP takes effect, signals with lower numbers may still arrive."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class Process:
    """A child process with both output streams in a file. As a context manager it kills the process at the end."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        self.output = output
        with output.open("wb") as sink:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=own_environment()
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def text(self) -> str:
        """Return the output so far."""
        return self.output.read_text(encoding="utf-8", errors="backslashreplace")

    def wait_for_line(self, word: str, patience: float = PATIENCE) -> str:
        """Wait for a complete line of output that contains the word, and return the first one."""

        def find() -> str:
            gone = not self.alive
            line = next((line for line in self.text().splitlines(keepends=True) if word in line), "")
            assert line or not gone, f"ended with status {self._child.returncode}, no {word!r} in:\n{self.text()}"
            return line.rstrip("\n") if line.endswith("\n") else ""

        return wait_until(find, f"a line with {word!r} in {self.output}", patience)

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the end of the process and return its exit status."""
        return self._child.wait(patience)

    def terminate(self) -> None:
        self._child.send_signal(signal.SIGTERM)

    def hang_up(self) -> None:
        self._child.send_signal(signal.SIGHUP)

    def interrupt(self) -> None:
        self._child.send_signal(signal.SIGINT)

    def pause(self) -> None:
        """Stop it with SIGSTOP, and return once it is stopped, so that it takes no part in what follows."""
        self._child.send_signal(signal.SIGSTOP)
        wait_until(lambda: self.paused, f"{self.pid} is stopped")

    @property
    def paused(self) -> bool:
        return is_stopped(self.pid)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it with SIGKILL. This is idempotent, and allowed after the process has ended."""
        self._child.kill()
        self._child.wait()
