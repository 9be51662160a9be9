"""This module finds what a test left in this process: open files and sockets, child processes and tasks."""

import asyncio
import contextlib
import os
from pathlib import Path

from relay.tools.testbed.process import port_keepers

FILES = "/proc/self/fd"
TASKS = "/proc/self/task"
STANDARD = {"0", "1", "2"}


def open_things() -> set[str]:
    """Return a description of every open file, socket, pipe and child process.

    This runs twice for each test, and `pathlib` would take twice as long.
    """
    return _open_files() | _children()


def _open_files() -> set[str]:
    found = set()
    meant = STANDARD | {str(keeper.fileno()) for keeper in port_keepers}
    for name in os.listdir(FILES):  # noqa: PTH208  see above
        if name in meant:
            continue  # pytest redirects the standard ones while a test runs
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.add(f"{os.readlink(f'{FILES}/{name}')} (file descriptor {name})")  # noqa: PTH115  likewise
    return found


def _children() -> set[str]:
    found = set()
    for task in os.listdir(TASKS):  # noqa: PTH208  likewise
        with contextlib.suppress(FileNotFoundError):  # a thread that ended while we looked
            with open(f"{TASKS}/{task}/children") as file:  # noqa: PTH123  likewise
                children = file.read().split()
            found |= {f"process {pid}: {_command(pid)}" for pid in children}
    return found


def _command(pid: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def tasks() -> list[str]:
    """Return every task of the running loop except those in which anyio runs tests and fixtures.

    Trio itself never leaves tasks.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return []
    return sorted(repr(task) for task in asyncio.all_tasks() if not _is_anyios(task))


def _is_anyios(task: "asyncio.Task[object]") -> bool:
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")
