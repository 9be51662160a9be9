"""Injects faults into the lab, one after the other and sometimes two at once, and keeps a log of them."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

import anyio
from redis.crc import key_slot
from redis.exceptions import RedisError

from relay.redis_client.keys import PARTITIONS, Keys
from relay.tools.testbed.process import HOST
from relay.tools.testbed.redis_kind import NODE_TIMEOUT
from relay.tools.testbed.topology_setup import EVERYWHERE
from relay.tools.testbed.waiting import until
from relay.tools.torture.history import Fault, Span
from relay.tools.torture.lab import PREFIX, Lab, Node
from relay.tools.torture.run_settings import ALIVE_SECONDS, FREE_SECONDS, LEASE, REPLACING

# Seconds between two faults. Some sessions can come back in that time, but not all.
PAUSE_SECONDS: Final = (0.3, 2.5)
# The probability that a fault doesn't wait for the end of the one before.
TOGETHER: Final = 0.3
KILL_EVERY_SECONDS: Final = 0.1  # seconds between two kills of all subscribers
# A network's delay in one direction. It is as long as the longest on earth, and makes no call or renewal late.
SLOW_SECONDS: Final = (0.02, 0.1)
# The node time-out of a cluster whose silent primary must not be replaced.
PATIENT_SECONDS: Final = 60.0

# Returns the failures of new users on these nodes, with names in these slots, within this number of seconds.
Alive = Callable[[list[int], Sequence[range], float], Awaitable[list[str]]]


class Nemesis:
    """Draws faults of the given kinds from its own random generator. `faults` is the log.

    After each fault, and after a failover while the old primary is down, everything has to work again within a bound.
    `alive(nodes, slots, seconds)` has new users on these nodes, with names in these slots, try everything, and returns
    their failures. `dead` is the log of those.
    """

    def __init__(self, lab: Lab, kinds: list[str], rng: Random, clock: Callable[[], float], alive: Alive) -> None:
        self._lab = lab
        self._kinds = kinds
        self._rng = rng
        self._clock = clock
        self._alive = alive
        self._server_broken = False  # a server is down or frozen, so no other fault may hit it
        self._breaking = 0  # number of current faults
        self._looking = 0  # number of current checks, which no fault may disturb
        self._turn = anyio.Lock()
        self.faults: list[Fault] = []
        self.dead: list[str] = []

    async def rage(self, seconds: float) -> None:
        """Inject faults for this time. All of them are healed when this returns."""
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
        await until(lambda: not self._looking)
        self._breaking += 1
        try:
            node = self._rng.choice(self._lab.nodes)
            if await self._possible(kind, node):
                await self._do(kind, node)
        finally:
            self._breaking -= 1

    async def _possible(self, kind: str, node: Node) -> bool:
        if kind in _NODE:
            return node.wanted
        if kind in REPLACING and not await self._lab.servers.ready():
            return False  # the servers haven't recovered from the previous fault
        return not self._server_broken

    async def _do(self, kind: str, node: Node) -> None:
        fault = Fault(kind, Span(self._clock()), node.number if kind in _NODE else -1)
        self.faults.append(fault)
        with suppress(RedisError, OSError):  # the server is down, so there is nothing more to break
            await (_NODE[kind](self, node) if kind in _NODE else _SERVER[kind](self))
        fault.span.ended = self._clock()
        await self._check_recovery(f"after {kind}")

    @asynccontextmanager
    async def _calm(self) -> AsyncIterator[None]:
        """Wait until all other faults are over, and let none begin meanwhile. One task at a time may enter."""
        self._breaking -= 1
        self._looking += 1
        await until(lambda: not self._breaking)
        try:
            async with self._turn:
                yield
        finally:
            self._looking -= 1
            await until(lambda: not self._looking)
            self._breaking += 1

    async def _check_recovery(self, when: str) -> None:
        """Check that everything works again within a bound, and log the failures."""
        async with self._calm():
            began = self._clock()
            nodes = [node.number for node in self._lab.nodes]
            self._bury(f"{when}, at {began:.1f} s", await self._alive(nodes, EVERYWHERE, ALIVE_SECONDS))

    def _bury(self, when: str, found: list[str]) -> None:
        self.dead.extend(f"{when}: {what}" for what in found)

    # --- nodes

    async def _kill(self, node: Node) -> None:
        await self._replace(node, signal.SIGKILL)

    async def _term(self, node: Node) -> None:
        await self._replace(node, signal.SIGTERM)

    async def _replace(self, node: Node, how: signal.Signals) -> None:
        """End a node, and restart it at once, soon, or after its lease has lapsed."""
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
        keys = Keys(PREFIX)
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
        """Restart the server with an old snapshot, as if a replica that was behind had been promoted."""
        self._server_broken = True
        with suppress(RedisError):
            await self._lab.server.client.save()
            await anyio.sleep(self._rng.uniform(0.2, LEASE))
        await self._lab.server.end()
        await self._lab.server.serve(remember=True)
        self._server_broken = False

    async def _failover(self) -> None:
        """Kill or freeze a primary until its replica has replaced it. It comes back later, empty or as it was."""
        self._server_broken = True
        server = self._rng.choice(await self._lab.servers.primaries())
        killed = self._rng.random() < 0.5
        if killed:
            await server.end()
        else:
            server.tell(signal.SIGSTOP)
        await self._lab.servers.replaced(server)
        await self._check_recovery(f"the primary on port {server.port} {'killed' if killed else 'frozen'} and replaced")
        await anyio.sleep(LEASE * self._rng.choice((0.0, 0.5, 1.5)))
        if killed:
            await server.serve()
        else:
            server.tell(signal.SIGCONT)
        self._server_broken = False

    async def _switch(self) -> None:
        """Replace a living primary with a replica. Connections to the old primary stay open."""
        self._server_broken = True
        old = await self._lab.servers.switch()
        for proxy in self._lab.proxies:
            proxy.target = (HOST, self._lab.server.port)
        await self._check_recovery(f"the primary on port {old.port} demoted")
        if self._lab.proxies:
            await old.end()
        self._server_broken = False

    async def _isolate(self) -> None:
        """Cut a primary of a cluster off from the other servers. Clients still reach it."""
        self._server_broken = True
        cluster = self._lab.cluster
        server = self._rng.choice(await cluster.primaries())
        await cluster.cut_off(server)
        await cluster.replaced(server)
        await self._check_recovery(f"the primary on port {server.port} isolated and replaced")
        cluster.gossip.heal()
        self._server_broken = False

    async def _shard_freeze(self) -> None:
        """Freeze a primary of a cluster, mostly until leases lapse. The cluster doesn't replace it meanwhile."""
        self._server_broken = True
        cluster = self._lab.cluster
        server = self._rng.choice(await cluster.primaries())
        seconds = LEASE * self._rng.choice((0.6, 1.5, 3.0))
        await cluster.patience(PATIENT_SECONDS)
        async with self._calm():
            shares = await cluster.shares()
            spared = await self._spared(shares, server.port)
            server.tell(signal.SIGSTOP)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep, seconds)
                healthy = [slots for slots, port in shares if port != server.port]
                self._bury(
                    f"the primary on port {server.port} silent", await self._alive(spared, healthy, FREE_SECONDS)
                )
            server.tell(signal.SIGCONT)
        await cluster.patience(NODE_TIMEOUT)
        self._server_broken = False

    async def _spared(self, shares: list[tuple[range, int]], port: int) -> list[int]:
        """Return the nodes that have neither their lease nor their inbox on that server."""
        sick = [slots for slots, other in shares if other == port]
        keys = Keys(PREFIX)
        node_ids = await self._lab.node_ids()
        return [
            number
            for number, node_id in node_ids.items()
            if not any(
                key_slot(key.encode()) in slots for key in (keys.lease(node_id), keys.inbox(node_id)) for slots in sick
            )
        ]


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
    "switch": Nemesis._switch,
    "isolate": Nemesis._isolate,
    "shard-freeze": Nemesis._shard_freeze,
}
