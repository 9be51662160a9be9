"""For `make coverage`: what a process has run is saved as it goes, so that one that is killed with SIGKILL counts too.

A plug-in of coverage.py (`plugins` in pyproject.toml), which loads it into each measured process. By itself coverage.py
writes when an interpreter ends, which a node that a test kills never does.
"""

import os
import signal
import sys
import threading
from typing import Any

from coverage import Coverage

EVERY = 0.5  # seconds
KILL = signal.SIGUSR1
_WORKER = "exec(eval(sys.stdin.readline()))"  # how execnet starts those of pytest-xdist


def coverage_init(registry: Any, options: Any) -> None:
    """Called by coverage.py: begin to save. Not in processes of the tests: those end, and their threads would count."""
    if not belongs_to_tests(sys.orig_argv):
        threading.Thread(target=_save).start()


def belongs_to_tests(argv: list[str]) -> bool:
    """pytest, its workers, and the process that tests fork from: a fork of one with threads may wait for ever."""
    return "pytest" in argv or _WORKER in " ".join(argv) or any(word.endswith("cli/children.py") for word in argv)


def _save() -> None:
    """Ends with the main thread, so before coverage.py writes for the last time."""
    main = threading.main_thread()
    while main.is_alive():
        main.join(EVERY)
        if (coverage := Coverage.current()) is not None:
            coverage.get_data()  # which writes what is new; `save` would give the file another name each time


def save_before_kill() -> None:
    """For a fork of that process, which may live for less than that: from now on `KILL` is a SIGKILL that saves."""

    def save_and_die(*_: object) -> None:
        if (coverage := Coverage.current()) is not None:
            coverage.save()
        os.kill(os.getpid(), signal.SIGKILL)

    signal.signal(KILL, save_and_die)
