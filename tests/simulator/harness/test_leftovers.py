"""What counts as left on a node once its users are gone."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from relay.hub.hub import Hub
from relay.tasks.worker_pool import WorkerPool
from simulator.harness.leftovers import left_over, tasks
from simulator.network import Network
from simulator.process import Process
from simulator.world import World


def a_hub(**more: Any) -> Hub:
    made = SimpleNamespace(
        sessions={},
        clients=[],
        memory_holders={},
        memory_budget=SimpleNamespace(used=0),
        _name_claims=SimpleNamespace(_session_ids=set(), _behind={}, _moved={}),
        _record_writer=SimpleNamespace(_waiting={}, _released={}),
    )
    vars(made).update(more)
    return cast(Hub, made)


async def stand() -> None:
    """Wait for ever, as the tasks do that a node always has."""
    await anyio.sleep_forever()


async def stay() -> None:
    """Do the same."""
    await stand()


def at_once() -> None:
    """Do nothing."""


@pytest.fixture
def process() -> Iterator[Process]:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stand)
            worker_pool = WorkerPool(group)
            worker_pool.start(anyio.sleep, 1.0)
            await anyio.sleep(3.0)
            worker_pool.start(stay)
            group.start_soon(stay)
            asyncio.get_running_loop().call_later(60.0, at_once)
            await anyio.sleep_forever()

    with World() as world:
        made = Network(world).host("node", "10.0.0.1").process("node")
        made.start(main)
        world.run_for(2.0)
        yield made


def test_a_worker_without_work_is_no_task_that_is_left(process: Process) -> None:
    standing = tasks(process)
    assert standing["stand"] == 1
    assert not [name for name in standing if "WorkerPool" in name]
    assert list(left_over(process, a_hub(), standing)) == []


def test_a_task_more_a_worker_at_work_and_a_timer_are_left(process: Process) -> None:
    standing = tasks(process)
    process.world.run_for(2.0)
    assert sorted(left_over(process, a_hub(), standing)) == [
        "1 tasks WorkerPool._work stay",
        "1 tasks stay",
        "1 timers at_once",
    ]


def test_sessions_and_bytes_that_a_hub_still_counts_are_left(process: Process) -> None:
    hub = a_hub(sessions={"ann": None}, memory_budget=SimpleNamespace(used=7))
    assert list(left_over(process, hub, tasks(process))) == ["1 sessions", "7 bytes"]
    assert list(left_over(process, a_hub(), Counter()))
