"""This module saves coverage data while a process runs, so that `make coverage` counts processes killed with SIGKILL.

It is a plug-in that coverage.py loads into each measured process (`plugins` in pyproject.toml). Coverage.py itself
writes its data only when the interpreter exits, which a killed node never does.
"""

import os
import signal
import sys
import threading
from typing import Any

from coverage import Coverage

EVERY = 0.5  # seconds between two saves
KILL = signal.SIGUSR1
_WORKER = "exec(eval(sys.stdin.readline()))"  # how execnet starts the workers of pytest-xdist


def coverage_init(registry: Any, options: Any) -> None:
    """Start to save, when coverage.py calls this. Test processes don't: they exit, and tests count their threads."""
    if not belongs_to_tests(sys.orig_argv):
        threading.Thread(target=_save).start()


def belongs_to_tests(argv: list[str]) -> bool:
    """Return True for pytest, its workers, and the process that tests fork from, as a fork with threads may hang."""
    return "pytest" in argv or _WORKER in " ".join(argv) or any(word.endswith("cli/children.py") for word in argv)


def _save() -> None:
    """Save periodically until the main thread ends, which is before coverage.py writes for the last time."""
    main = threading.main_thread()
    while main.is_alive():
        main.join(EVERY)
        if (coverage := Coverage.current()) is not None:
            coverage.get_data()  # this writes new data; `save` would use another file name each time


def save_before_kill() -> None:
    """Make `KILL` save the data and then kill this process. A fork for a test may be too short-lived for `_save`."""

    def save_and_die(*_: object) -> None:
        if (coverage := Coverage.current()) is not None:
            coverage.save()
        os.kill(os.getpid(), signal.SIGKILL)

    signal.signal(KILL, save_and_die)
