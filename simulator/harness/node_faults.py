"""What goes wrong with nodes, their machines, and their ways to Redis and to clients."""

import signal
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final

import anyio

from relay.tools.testbed.waiting import until
from simulator.harness.breaking import Breaking
from simulator.harness.hostile import HOLD_SECONDS, attack
from simulator.harness.machine import NodeProcess
from simulator.harness.plan import LEASE
from simulator.network import Path, Weather

# How long a node may take to serve.
START_SECONDS: Final = 30.0
SLOW_SECONDS: Final = (0.02, 0.1)


async def _kill(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    node.wanted = False
    node.kill()
    await _restart(breaking, node, rng)


async def _term(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    node.wanted = False
    node.tell(signal.SIGTERM)
    if not await until(lambda: not node.alive, START_SECONDS):
        breaking.failures.append(f"node {node.number} didn't end by {breaking.world.now:.3f} s")
        node.kill()
    await _restart(breaking, node, rng)


async def _restart(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    """Restart a node that has ended at once, soon, or after its lease has lapsed."""
    await anyio.sleep(rng.choice((0.0, 0.5, LEASE + 1)))
    node.start()
    if not await until(lambda: node.serving or not node.alive, START_SECONDS) or not node.alive:
        breaking.failures.append(f"node {node.number} doesn't serve by {breaking.world.now:.3f} s")
    node.wanted = True


async def _pause(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    node.wanted = False
    node.tell(signal.SIGSTOP)
    await anyio.sleep(LEASE * rng.choice((0.2, 0.5, 1.1, 2.5)))
    node.tell(signal.SIGCONT)
    node.wanted = True


async def _stall(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    """One callback takes long, as when the machine has other things to do."""
    if node.process is not None:
        seconds = rng.uniform(0.01, LEASE / 3)
        node.process.stall(seconds)
        await anyio.sleep(seconds)


async def _partition(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    """The network between a node and Redis is silent, one way or both, and connections may be cut after that."""
    node.wanted = False
    there = _ways(breaking, node)
    back = [path.back for path in there]
    holes = rng.choice(([*there, *back], there, back))
    for path in holes:
        path.hole = True
    await anyio.sleep(LEASE * rng.choice((0.3, 0.7, 1.5, 2.5)))
    for path in holes:
        path.hole = False
    if rng.random() < 0.5:
        _cut(breaking, node)
    node.wanted = True


def _ways(breaking: Breaking, node: NodeProcess) -> list[Path]:
    """Return the ways from a node to all servers of Redis."""
    return [breaking.stage.network.path(node.host, host) for host in breaking.stage.servers.hosts]


def _cut(breaking: Breaking, node: NodeProcess) -> None:
    """Reset all connections between a node and Redis."""
    for connection in list(breaking.stage.network.connections.values()):
        if connection.client.host is node.host:
            connection.reset()


async def _slow(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    node.wanted = False
    seconds = rng.uniform(*SLOW_SECONDS)
    ways = [(path, path.weather) for there in _ways(breaking, node) for path in (there, there.back)]
    for path, _ in ways:
        path.weather = Weather(delay=(seconds, seconds * 1.2))
    await anyio.sleep(LEASE * rng.choice((0.5, 1.0, 2.0)))
    for path, usual in ways:
        path.weather = usual
    node.wanted = True


async def _resets(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    """Some connections of clients with a node are reset, or end."""
    for connection in list(breaking.stage.network.connections.values()):
        if connection.server is not None and connection.server.host is node.host and rng.random() < 0.5:
            if rng.random() < 0.5:
                connection.reset()
            else:
                connection.end(by_server=False)


async def _clock(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    """The wall clock of a node's machine is set, by up to a day."""
    node.host.clock.step(rng.choice((-1, 1)) * 10 ** rng.uniform(-1, 5))


async def _hostile(breaking: Breaking, node: NodeProcess, rng: Random) -> None:
    """Some clients mean harm. They come from a machine of their own."""
    attackers = []
    for _ in range(rng.randint(1, 12)):
        draw = Random(rng.random())
        attackers.append(breaking.stage.strangers.process("hostile"))
        attackers[-1].start(partial(attack, node.address, draw))
        await anyio.sleep(rng.uniform(0.0, 0.2))
    await until(lambda: not any(attacker.alive for attacker in attackers), HOLD_SECONDS[1])
    for attacker in attackers:
        attacker.kill()


NODE: Final[dict[str, Callable[[Breaking, NodeProcess, Random], Awaitable[None]]]] = {
    "kill": _kill,
    "term": _term,
    "pause": _pause,
    "stall": _stall,
    "partition": _partition,
    "slow": _slow,
    "resets": _resets,
    "clock": _clock,
    "hostile": _hostile,
}
