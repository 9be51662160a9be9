"""Sentinels replace the primary by a replica under traffic: nothing is lost, and names keep their owners."""

import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from relay.tools.testbed.process import HOST
from relay.tools.testbed.topology_setup import SERVICE
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.sentinels import PATIENCE, SentinelSet
from tests.support.server import RedisServer
from tests.support.swarm import Swarm, alive, couples, everybody_hears
from tests.support.thieves import Thieves

PAIRS = 10
RATE = 20  # messages a second and program
BACK = 5.0  # seconds after the failover, within which everybody hears everybody
LATE = 2.0  # seconds of traffic on the new primary, for what comes late


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    sentinels = SentinelSet(tmp_path)
    yield sentinels
    sentinels.stop()


def killed(server: RedisServer) -> None:
    server.process.kill()


def frozen(server: RedisServer) -> None:
    server.process.pause()


@pytest.mark.parametrize("fault", [pytest.param(killed, marks=pytest.mark.slow), frozen])
def test_a_failover_loses_no_message_and_no_name(
    start_node: StartNode, sentinels: SentinelSet, fault: Callable[[RedisServer], None]
) -> None:
    one, two = (start_node(redis=sentinels.url, grace=30) for _ in range(2))
    programs = couples(PAIRS, [one.address], [two.address])
    thieves = Thieves([one, two], [program.name for program in programs])
    old = sentinels.primary
    assert old is not None

    async def scene() -> Swarm:
        async with alive(programs) as swarm:
            await swarm.pair_up()
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(swarm.talk, RATE, math.inf)
                    await anyio.sleep(0.5)  # messages are under way
                    thieves.start()
                    fault(old)
                    broken = time.monotonic()
                    await anyio.to_thread.run_sync(wait_for_another, sentinels, old)
                    over = time.monotonic()
                    await everybody_hears(swarm, BACK)
                    print(f"failover {over - broken:.1f} s, traffic {time.monotonic() - over:.1f} s later")
                    await anyio.sleep(LATE)
                    tasks.cancel_scope.cancel()
            finally:
                thieves.stop()
            await swarm.settle()
            await anyio.to_thread.run_sync(thieves.join)
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0
    assert thieves.stolen == []


def wait_for_another(sentinels: SentinelSet, old: RedisServer) -> None:
    wait_until(lambda: sentinels.primary not in (None, old), "sentinels name another primary", PATIENCE)


def test_a_primary_that_wakes_up_again_is_left(guests: Guests, start_node: StartNode, sentinels: SentinelSet) -> None:
    nodes = [start_node(redis=sentinels.url, grace=30) for _ in range(2)]
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    alice.call("bob")
    bob.expect("paired")
    old = sentinels.primary
    assert old is not None
    old.process.pause()
    wait_for_another(sentinels, old)
    old.process.resume()
    alice.send("msg", id=1, text="across")
    bob.expect_past_absences("msg", text="across", patience=BACK)
    new = sentinels.primary
    assert new is not None
    wait_until(lambda: hears(new, nodes) and not hears(old, nodes[:1]), "all nodes are at the new primary", PATIENCE)
    guests.text_when_free(nodes[1], "carol", 2 * LEASE + BACK)


def test_a_primary_that_goes_on_serving_is_left_too(
    guests: Guests, start_node: StartNode, sentinels: SentinelSet
) -> None:
    """It is cut off from the sentinels. It would serve its clients, apart from those that connect later."""
    nodes = [start_node(redis=sentinels.url, grace=30) for _ in range(2)]
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    alice.call("bob")
    bob.expect("paired")
    old, new = sentinels.primary, sentinels.servers[1]
    assert old is not None
    new.client().replicaof("NO", "ONE")
    for sentinel in sentinels.sentinels:
        sentinel.point_to(new.port)
    wait_until(lambda: hears(new, nodes) and not hears(old, nodes[:1]), "all nodes are at the new primary", BACK)
    alice.send("msg", id=1, text="across")
    bob.expect_past_absences("msg", text="across", patience=BACK)
    guests.text_when_free(nodes[1], "carol", 2 * LEASE + BACK)


def hears(server: RedisServer, nodes: list[Node]) -> bool:
    """Return whether this number of nodes is subscribed there."""
    inboxes = [channel for channel in server.client().pubsub_channels() if ":inbox:" in channel]
    return len(inboxes) >= len(nodes)


def test_sentinels_tell_of_each_other_and_when_the_last_is_gone_that_is_said(
    guests: Guests, start_node: StartNode, sentinels: SentinelSet
) -> None:
    first, *others = sentinels.sentinels
    node = start_node(redis=f"redis+sentinel://{HOST}:{first.port}/{SERVICE}")
    wait_until(lambda: said(node) == "ready", "the node is ready", PATIENCE)
    first.process.kill()
    old = sentinels.servers[0]
    old.process.kill()

    def named() -> RedisServer | None:
        ports = {one.primary for one in others}
        return next((one for one in sentinels.servers if one is not old and {one.port} == ports), None)

    new = wait_until(named, "the others name another primary", PATIENCE)
    assert new is not None
    wait_until(lambda: hears(new, [node]), "the node is at the new primary", PATIENCE)
    wait_until(lambda: node.readiness() == 200, "the node is ready", PATIENCE)
    assert "no sentinel answers" not in node.text()
    for sentinel in others:
        sentinel.process.kill()
    line = node.wait_for_line("no sentinel answers: a failover won't be noticed")
    assert all(f"{HOST}:{sentinel.port}: connection refused" in line for sentinel in sentinels.sentinels)
    wait_until(lambda: said(node).startswith("ready, but no sentinel answers: "), "the probe says so", BACK)
    guests.text_when_free(node, "alice", 2 * LEASE)


def said(node: Node) -> str:
    """Return the text of `/readyz`."""
    host, port = node.http_address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=PATIENCE) as page:
            return str(page.read().decode().strip())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode().strip()


def test_a_single_sentinel_is_enough_and_frozen_ones_are_passed_over(
    guests: Guests, start_node: StartNode, sentinels: SentinelSet
) -> None:
    sentinels.sentinels[0].process.pause()
    sentinels.sentinels[1].process.kill()
    node = start_node(redis=sentinels.url)
    guests.text_when_free(node, "alice", 2 * LEASE)
