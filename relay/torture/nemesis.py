"""Breaks parts of the lab, one after the other and sometimes two at once, and keeps a log of it."""

import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

import anyio
from redis.exceptions import RedisError

from relay.redis_client.keys import PARTITIONS, Keys
from relay.torture.history import Fault, Span
from relay.torture.lab import Lab, Node
from relay.torture.plan import LEASE

# Seconds between faults: enough for sessions to come back now and then, not enough for all to be quiet.
PAUSE_SECONDS: Final = (0.3, 2.5)
# How often a fault begins while another one lasts.
TOGETHER: Final = 0.3
KILL_EVERY_SECONDS: Final = 0.1  # the subscribers', at 10 Hz
# A network's delay in one direction: the longest on earth, and less than makes a call or a renewal of the lease late.
SLOW_SECONDS: Final = (0.02, 0.1)
_PREFIX: Final = "relay"


class Nemesis:
    """Draws faults of the given kinds from its own random numbers. `faults` is the log."""

    def __init__(self, lab: Lab, kinds: list[str], rng: Random, clock: Callable[[], float]) -> None:
        self._lab = lab
        self._kinds = kinds
        self._rng = rng
        self._clock = clock
        self._server_broken = False  # away or frozen: there is nothing to break in it at the moment
        self.faults: list[Fault] = []

    async def rage(self, seconds: float) -> None:
        """Break things for so long; when this returns everything is whole again."""
        end = self._clock() + seconds
        async with anyio.create_task_group() as tasks:
            while self._clock() < end:
                await anyio.sleep(self._rng.uniform(*PAUSE_SECONDS))
                if not self._kinds:
                    continue
                kind = self._rng.choice(self._kinds)
                if self._rng.random() < TOGETHER:
                    tasks.start_soon(self._break, kind)
                else:
                    await self._break(kind)

    async def _break(self, kind: str) -> None:
        node = self._rng.choice(self._lab.nodes)
        if kind in _SERVER and self._server_broken:
            return
        if kind in _NODE and not node.wanted:
            return
        if kind == "failover" and (not await self._lab.servers.ready() or self._server_broken):
            return  # the one before has left its traces still
        fault = Fault(kind, Span(self._clock()), node.number if kind in _NODE else -1)
        self.faults.append(fault)
        with suppress(RedisError, OSError):  # the server is down at the moment: nothing more to break there
            await (_NODE[kind](self, node) if kind in _NODE else _SERVER[kind](self))
        fault.span.ended = self._clock()

    # --- nodes

    async def _kill(self, node: Node) -> None:
        await self._replace(node, signal.SIGKILL)

    async def _term(self, node: Node) -> None:
        await self._replace(node, signal.SIGTERM)

    async def _replace(self, node: Node, how: signal.Signals) -> None:
        """End a node, and start it anew: at once, soon, or when its lease has lapsed."""
        node.wanted = False
        await node.end(how)
        await anyio.sleep(self._rng.choice((0.0, 0.5, LEASE + 1)))
        await node.listen()
        node.wanted = True

    async def _pause(self, node: Node) -> None:
        node.wanted = False
        node.tell(signal.SIGSTOP)
        await anyio.sleep(LEASE * self._rng.choice((0.2, 0.5, 1.1, 2.5)))
        node.tell(signal.SIGCONT)
        node.wanted = True

    async def _partition(self, node: Node) -> None:
        node.wanted = False
        self._lab.proxies[node.number].hold()
        await anyio.sleep(LEASE * self._rng.choice((0.3, 0.7, 1.5, 2.5)))
        self._lab.proxies[node.number].release(cut=self._rng.random() < 0.5)
        node.wanted = True

    async def _slow(self, node: Node) -> None:
        node.wanted = False
        self._lab.proxies[node.number].delay = self._rng.uniform(*SLOW_SECONDS)
        await anyio.sleep(LEASE * self._rng.choice((0.5, 1.0, 2.0)))
        self._lab.proxies[node.number].delay = 0.0
        node.wanted = True

    async def _deaf(self, node: Node) -> None:
        self._lab.proxies[node.number].deafen()

    # --- the server

    async def _pubsub(self) -> None:
        for _ in range(self._rng.randint(1, 20)):
            await self._lab.server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await anyio.sleep(KILL_EVERY_SECONDS)

    async def _buffer(self) -> None:
        client = self._lab.server.client
        usual = (await client.config_get("client-output-buffer-limit"))["client-output-buffer-limit"]
        await client.config_set("client-output-buffer-limit", "pubsub 1 1 1")
        await anyio.sleep(self._rng.uniform(0.2, 1.0))
        await client.config_set("client-output-buffer-limit", usual)

    async def _flush(self) -> None:
        await self._lab.server.client.flushall()

    async def _evict(self) -> None:
        keys = Keys(_PREFIX)
        some = self._rng.sample(range(PARTITIONS), PARTITIONS // self._rng.choice((2, 4, 16)))
        await self._lab.server.client.delete(*map(keys.partition, some))

    async def _redis_down(self) -> None:
        self._server_broken = True
        await self._lab.server.end()
        await anyio.sleep(LEASE * self._rng.choice((0.0, 0.3, 1.5)))
        await self._lab.server.serve()
        self._server_broken = False

    async def _redis_freeze(self) -> None:
        self._server_broken = True
        self._lab.server.tell(signal.SIGSTOP)
        await anyio.sleep(LEASE * self._rng.choice((0.2, 0.6, 1.5)))
        self._lab.server.tell(signal.SIGCONT)
        self._server_broken = False

    async def _rollback(self) -> None:
        """A replica that had not heard the latest is promoted: everything since the snapshot is undone."""
        self._server_broken = True
        with suppress(RedisError):
            await self._lab.server.client.save()
            await anyio.sleep(self._rng.uniform(0.2, LEASE))
        await self._lab.server.end()
        await self._lab.server.serve(remember=True)
        self._server_broken = False

    async def _failover(self) -> None:
        """A primary dies or freezes; once its replica is in its place it comes back, as it was started or as it was."""
        self._server_broken = True
        server = self._rng.choice(await self._lab.servers.primaries())
        killed = self._rng.random() < 0.5
        if killed:
            await server.end()
        else:
            server.tell(signal.SIGSTOP)
        await self._lab.servers.replaced(server)
        await anyio.sleep(LEASE * self._rng.choice((0.0, 0.5, 1.5)))
        if killed:
            await server.serve()
        else:
            server.tell(signal.SIGCONT)
        self._server_broken = False


_NODE: Final[dict[str, Callable[[Nemesis, Node], Awaitable[None]]]] = {
    "kill": Nemesis._kill,
    "term": Nemesis._term,
    "pause": Nemesis._pause,
    "partition": Nemesis._partition,
    "slow": Nemesis._slow,
    "deaf": Nemesis._deaf,
}
_SERVER: Final[dict[str, Callable[[Nemesis], Awaitable[None]]]] = {
    "pubsub": Nemesis._pubsub,
    "buffer": Nemesis._buffer,
    "flush": Nemesis._flush,
    "evict": Nemesis._evict,
    "redis-down": Nemesis._redis_down,
    "redis-freeze": Nemesis._redis_freeze,
    "rollback": Nemesis._rollback,
    "failover": Nemesis._failover,
}
