"""What is left on a node once all its clients are gone: nothing but the tasks that it has from its start."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from relay.hub.hub import Hub
from simulator.process import Process

# The tasks of others that a task runs in.
_WRAPPERS: Final = frozenset({"TaskHandle._run_coro", "RestartedTasks._run"})
_WORKER: Final = "WorkerPool._work"
# One for each primary at which other nodes have their inboxes, from the first message to there on.
_OF_SERVERS: Final = frozenset({"ClusterPublisherBackend._keep"})
# Timers of tasks that sleep, or wait for something for a while. Their tasks are looked at.
_OF_TASKS: Final = frozenset({"_set_result_unless_cancelled", "CancelScope._timeout"})
# Timers that end a while after the last connection: until then an address has used up some of its claims, and the next
# round of pings finds nobody.
_LATE: Final = frozenset({"Admission._sweep", "PingTimer._look"})


def tasks(process: Process) -> Counter[str]:
    """Return how often each kind of task runs, without workers that have nothing to do and those of each server."""
    names = (_name(task) for task in process.pending_tasks())
    return Counter(name for name in names if name and name not in _OF_SERVERS)


def _name(task: "asyncio.Task[Any]") -> str:
    """Return what a task does, or "" for a worker without work."""
    coroutine: Any = task.get_coro()
    while coroutine.__qualname__ in _WRAPPERS and hasattr(coroutine.cr_await, "cr_await"):
        coroutine = coroutine.cr_await
    name = str(coroutine.__qualname__)
    if name != _WORKER:
        return name
    step = coroutine.cr_await
    return f"{name} {getattr(step.cr_await, '__qualname__', '')}" if hasattr(step, "cr_await") else ""


def timers(process: Process) -> Counter[str]:
    """Return how often each kind of timer runs that belongs to no task."""
    names = (getattr(one._callback, "__qualname__", "") for one in process.loop.timers())  # type: ignore[attr-defined]
    return Counter(name for name in names if name not in _OF_TASKS | _LATE)


def left_over(process: Process, hub: Hub, standing: Counter[str]) -> Iterator[str]:
    """Yield what a node has of clients that are gone. `standing` has the tasks that it may have."""
    yield from (f"{count} tasks {name}" for name, count in (tasks(process) - standing).items())
    yield from (f"{count} timers {name}" for name, count in timers(process).items())
    held: Any = hub
    kept = {
        "sessions": hub.sessions,
        "clients": hub.clients,
        "clients that hold memory": hub.memory_holders,
        "ids of sessions": held._name_claims._session_ids,
        "claims that wait": held._name_claims._behind,
        "words of moves": held._name_claims._moved,
        "records to write": held._record_writer._waiting,
        "records to give back": held._record_writer._released,
    }
    yield from (f"{len(things)} {what}" for what, things in kept.items() if things)
    if hub.memory_budget.used:
        yield f"{hub.memory_budget.used} bytes"
