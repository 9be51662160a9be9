"""Pub/sub that breaks, drops or falls silent: nothing is lost or doubled, and a deaf node reports itself not ready."""

import threading
from collections.abc import Iterator

import anyio
import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.process import wait_until
from tests.support.proxy import DOWN, UP, Proxy
from tests.support.server import RedisServer
from tests.support.swarm import Swarm, alive, couples, percentile

KILLS_PER_SECOND = 10
NOISE = 8 * 1024 * b"x"  # no frame, so nodes ignore it; short, as a server keeps long ones outside that buffer
READY, NOT_READY = 200, 404
RECOVERY = 2.0  # seconds for 99 of 100 messages
NOTICED = 5.0  # seconds until a connection on which nothing passes is replaced


@pytest.fixture
def proxy(own_redis: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(own_redis.port)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("seconds", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_subscribers_killed_ten_times_a_second_lose_nothing(
    start_node: StartNode, own_redis: RedisServer, seconds: int
) -> None:
    nodes = [start_node(redis=own_redis.url) for _ in range(2)]
    client = own_redis.client()
    killed = 0

    async def kill() -> None:
        nonlocal killed
        while True:
            await anyio.sleep(1 / KILLS_PER_SECOND)
            killed += int(client.client_kill_filter(_type="pubsub"))

    async def scene() -> Swarm:
        async with alive(couples(10, [nodes[0].address], [nodes[1].address])) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kill)
                await swarm.talk(20, seconds)
                tasks.cancel_scope.cancel()
            await swarm.settle()
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert killed > seconds
    assert percentile(swarm.delays, 0.99) < RECOVERY


def test_a_subscriber_killed_for_its_output_buffer_loses_nothing(
    start_node: StartNode, own_redis: RedisServer, prefix: str
) -> None:
    nodes = [start_node(redis=own_redis.url) for _ in range(2)]
    client = own_redis.client()
    client.config_set("client-output-buffer-limit", "pubsub 1mb 0 0")

    def cut_off() -> int:
        info = client.info("stats")
        assert isinstance(info, dict)
        return int(info["client_output_buffer_limit_disconnections"])

    async def scene() -> Swarm:
        async with alive(couples(10, [nodes[0].address], [nodes[1].address])) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, 20, 3)
                await anyio.sleep(0.5)
                nodes[1].pause()
                before = cut_off()
                while cut_off() == before:  # what the kernel's buffers don't take fills the server's
                    with client.pipeline(transaction=False) as pipeline:
                        for _ in range(100):
                            pipeline.publish(f"{prefix}:everyone", NOISE)
                        pipeline.execute()
                nodes[1].resume()
            await swarm.settle()
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert percentile(swarm.delays, 0.99) < RECOVERY


def test_a_half_open_subscriber_loses_nothing_and_its_node_is_not_ready_meanwhile(
    start_node: StartNode, proxy: Proxy
) -> None:
    node, deaf = start_node(redis=proxy.url), start_node(redis=proxy.url)
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(deaf.readiness())

    async def scene() -> Swarm:
        async with alive(couples(10, [node.address], [deaf.address])) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, 20, 4)
                await anyio.sleep(0.5)
                assert proxy.deafen_subscribers() == 2
            await swarm.settle()
            return swarm

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        swarm = anyio.run(scene)
    finally:
        done.set()
        watcher.join()
    swarm.check()
    assert NOT_READY in seen
    assert seen[-1] == READY
    assert percentile(swarm.delays, 0.99) < RECOVERY


# Whichever way nothing passes, a connection notices it by the answers that don't come. So each is tried once, and only
# the one that carries the messages in all ways.
SILENCES = [
    pytest.param(use, ways, marks=() if ways == (DOWN,) else pytest.mark.slow)
    for use in ("publisher", "pipeline", "subscriber")
    for ways in ((UP,), (DOWN,), (UP, DOWN))
]


@pytest.mark.parametrize(("use", "ways"), SILENCES, ids=lambda it: it if isinstance(it, str) else "+".join(it))
def test_a_connection_on_which_nothing_passes_in_one_way_is_made_anew(
    start_node: StartNode, proxy: Proxy, guests: Guests, use: str, ways: tuple[str, ...]
) -> None:
    """This holds also if nobody talks, because the node's own probes take the way of its messages."""
    nodes = [start_node(redis=proxy.url) for _ in range(2)]
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    alice.call("bob")
    bob.expect("paired")
    assert proxy.swallow(use, *ways) == 2
    if (use, ways) != ("subscriber", (UP,)):  # nothing travels in that direction, so nothing is missed
        wait_until(lambda: not proxy.half_open(), "the connections were given up", NOTICED)
    for id in range(1, 20):
        alice.send("msg", id=id, text=str(id))
        bob.expect("msg", id=id, text=str(id))
        alice.expect_acked(id)
    for node in nodes:
        wait_until(lambda node=node: node.readiness() == READY, "the node is ready again")  # type: ignore[misc]
        assert node.trouble() == ""
