"""A primary of a cluster fails, or a slot moves, under traffic: nothing is lost, and names keep their owners."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from relay.redis_client.keys import Keys
from relay.torture.plan import NODE_TIMEOUT
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
TALK = 8.0  # seconds; the failover and some traffic on the new primary


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
    """Where each node listens."""
    found = {}
    for server, client in zip(cluster.servers, cluster.clients, strict=True):
        for channel in client.execute_command("PUBSUB", "SHARDCHANNELS"):  # type: ignore[no-untyped-call]
            found[str(channel)] = server
    return found


async def undisturbed(two: list[Node], fault: Callable[[], None]) -> None:
    """Nobody notices the fault but by waiting."""
    programs = couples(PAIRS, [two[0].address], [two[1].address])
    thieves = Thieves(two, [program.name for program in programs], TALK)
    async with alive(programs) as swarm:
        await swarm.pair_up()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(swarm.talk, RATE, TALK)
            await anyio.sleep(0.5)  # messages are under way
            thieves.start()
            broken = time.monotonic()
            await anyio.to_thread.run_sync(fault)
            await everybody_hears(swarm, broken + BACK - time.monotonic())
            print(f"everybody hears everybody {time.monotonic() - broken:.1f} s after the fault")
        await swarm.settle()
        await anyio.to_thread.run_sync(thieves.join)
    check(swarm)
    assert thieves.stolen == []


def check(swarm: Swarm) -> None:
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0


@pytest.mark.parametrize("fault", [killed, frozen])
def test_a_primary_that_fails_loses_no_message_and_no_name(
    cluster: RedisCluster, two: list[Node], fault: Callable[[RedisServer], None]
) -> None:
    inbox, old = next(iter(inboxes(cluster).items()))

    def fail() -> None:
        fault(old)
        wait_until(lambda: cluster.home(inbox) is not old, "its replica takes over", PATIENCE)

    anyio.run(undisturbed, two, fail)


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
