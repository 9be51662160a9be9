"""Child processes whose output can be waited for, and shown when a test fails."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

PATIENCE = 10.0  # seconds; only a failing test waits that long, so a busy machine costs nothing else
POLL = 0.01  # seconds between two looks at a condition


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Look until the condition holds, and return what it returned. AssertionError naming `what` after `patience` s."""
    deadline = time.monotonic() + patience
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        time.sleep(POLL)


def descendants(pid: int) -> list[int]:
    """Every process that this one, or one of those, has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def own_environment() -> dict[str, str]:
    """Our environment without the product's own settings, which would reach into the tests."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped. SIGSTOP takes a moment, in which it may still take signals of lower numbers."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class Process:
    """A child process; both its output streams go to a file that can be read while it runs. A context kills it."""

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
        """Everything that it has written so far."""
        return self.output.read_text(encoding="utf-8", errors="backslashreplace")

    def wait_for_line(self, word: str, patience: float = PATIENCE) -> str:
        """The first complete line of its output that holds the word."""

        def find() -> str:
            gone = not self.alive
            line = next((line for line in self.text().splitlines(keepends=True) if word in line), "")
            assert line or not gone, f"ended with status {self._child.returncode}, no {word!r} in:\n{self.text()}"
            return line.rstrip("\n") if line.endswith("\n") else ""

        return wait_until(find, f"a line with {word!r} in {self.output}", patience)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit status, once it has ended."""
        return self._child.wait(patience)

    def terminate(self) -> None:
        self._child.send_signal(signal.SIGTERM)

    def hang_up(self) -> None:
        self._child.send_signal(signal.SIGHUP)

    def interrupt(self) -> None:
        self._child.send_signal(signal.SIGINT)

    def pause(self) -> None:
        """Freeze it; returns when it is frozen, so that what happens next happens without it."""
        self._child.send_signal(signal.SIGSTOP)
        wait_until(lambda: self.paused, f"{self.pid} is stopped")

    @property
    def paused(self) -> bool:
        return is_stopped(self.pid)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9; idempotent, also for one that has ended."""
        self._child.kill()
        self._child.wait()
