"""A primary of a cluster fails, or a slot moves, under traffic: nothing is lost, and names keep their owners."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from relay.redis_client.keys import Keys
from relay.tools.testbed.redis_kind import NODE_TIMEOUT
from tests.integration.conftest import StartNode
from tests.support.cluster import PATIENCE, RedisCluster
from tests.support.node import Node
from tests.support.process import wait_until
from tests.support.server import RedisServer
from tests.support.swarm import Swarm, alive, couples, everybody_hears
from tests.support.thieves import Thieves

PAIRS = 10
RATE = 20  # messages a second and program
BACK = NODE_TIMEOUT + 5.0  # seconds from the fault until everybody hears everybody
LATE = 2.0  # seconds of traffic after each fault, for what comes late


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path / "cluster", replicas=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def two(start_node: StartNode, cluster: RedisCluster) -> list[Node]:
    return [start_node(redis=cluster.url, grace=30) for _ in range(2)]


def killed(server: RedisServer) -> None:
    server.process.kill()


def frozen(server: RedisServer) -> None:
    server.process.pause()


def inboxes(cluster: RedisCluster) -> dict[str, RedisServer]:
    """Return the primary of each node's inbox."""
    found = {}
    for server, client in zip(cluster.servers, cluster.clients, strict=True):
        for channel in client.execute_command("PUBSUB", "SHARDCHANNELS"):  # type: ignore[no-untyped-call]
            found[str(channel)] = server
    return found


async def undisturbed(nodes: list[Node], *faults: Callable[[], None]) -> None:
    """Check that the faults, one after the other, cost the users nothing but time."""
    programs = couples(PAIRS, [nodes[0].address], [nodes[1].address])
    thieves = Thieves(nodes[:2], [program.name for program in programs])
    async with alive(programs) as swarm:
        await swarm.pair_up()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, RATE, math.inf)
                await anyio.sleep(0.5)  # messages are under way
                thieves.start()
                for fault in faults:
                    broken = time.monotonic()
                    await anyio.to_thread.run_sync(fault)
                    await everybody_hears(swarm, broken + BACK - time.monotonic())
                    await anyio.to_thread.run_sync(wait_until_ready, nodes, broken + BACK - time.monotonic())
                    print(f"everybody hears everybody {time.monotonic() - broken:.1f} s after the fault")
                    await anyio.sleep(LATE)
                tasks.cancel_scope.cancel()
        finally:
            thieves.stop()
        await swarm.settle()
        await anyio.to_thread.run_sync(thieves.join)
    check(swarm)
    assert thieves.stolen == []


def wait_until_ready(nodes: list[Node], patience: float) -> None:
    for node in nodes:
        wait_until(lambda node=node: node.readiness() == 200, f"{node.name} is ready", patience)  # type: ignore[misc]


def check(swarm: Swarm) -> None:
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0


@pytest.mark.parametrize("fault", [killed, pytest.param(frozen, marks=pytest.mark.slow)])
def test_each_primary_that_fails_loses_no_message_and_no_name(
    cluster: RedisCluster, start_node: StartNode, prefix: str, fault: Callable[[RedisServer], None]
) -> None:
    """The primaries fail one after the other. One of them has an inbox, and one has a lease and no inbox."""
    for attempt in count():
        own = f"{prefix}{attempt}"
        nodes = [start_node(redis=cluster.url, prefix=own, grace=30) for _ in range(2)]
        if cluster.holding(f"{own}:lease:*") - cluster.holding(f"{own}:inbox:*"):
            break
        for node in nodes:
            node.kill()

    def fail(old: RedisServer) -> None:
        slot = next(iter(cluster.slots(old)))
        fault(old)
        broken = time.monotonic()
        wait_until(lambda: cluster.serving(slot) is not old, "its replica takes over", PATIENCE)
        print(f"its replica has its place {time.monotonic() - broken:.1f} s after the fault")

    anyio.run(partial(undisturbed, nodes, *(partial(fail, old) for old in cluster.servers[:3])))


def test_a_primary_that_only_the_others_miss_is_left(start_node: StartNode, prefix: str, tmp_path: Path) -> None:
    """It is cut off from the other servers and still serves its clients, while a replica has replaced it."""
    cluster = RedisCluster(tmp_path / "cluster", replicas=True, options=("--enable-debug-command", "yes"))
    nodes = [start_node(redis=cluster.url, grace=30) for _ in range(2)]
    alone = next(iter(cluster.holding(f"{prefix}:inbox:*")))
    slot = next(iter(cluster.slots(alone)))

    def cut_off() -> None:
        cluster.isolate(alone)
        wait_until(lambda: cluster.serving(slot, unless=alone) is not alone, "its replica takes over", PATIENCE)

    try:
        anyio.run(undisturbed, nodes, cut_off)
    finally:
        cluster.stop()


def test_an_inbox_whose_slot_moves_stays_in_use(cluster: RedisCluster, two: list[Node]) -> None:
    def move_all() -> None:
        for inbox, old in inboxes(cluster).items():
            to = next(server for server in cluster.servers[:3] if server is not old)
            cluster.move(inbox, to)
            wait_until(lambda i=inbox, t=to: inboxes(cluster).get(i) is t, "its node listens there", BACK)  # type: ignore[misc]

    anyio.run(undisturbed, two, move_all)


def test_names_whose_slot_moves_stay_in_use(cluster: RedisCluster, two: list[Node], prefix: str) -> None:
    keys = {Keys(prefix).place(f"{side}{n}").key for side in "ab" for n in range(PAIRS)}

    def move_all() -> None:
        for key in keys:
            old = cluster.home(key)
            cluster.move(key, next(server for server in cluster.servers[:3] if server is not old))

    anyio.run(undisturbed, two, move_all)
