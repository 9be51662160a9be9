"""What goes wrong in a run.

Each kind of fault has a random stream of its own, which says whether the seed has it at all, how often, and how it
goes: a kind more or less changes nothing of the others.
"""

import signal
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

import anyio

from relay.redis_client.keys import Keys
from relay.tools.testbed.waiting import until
from relay.tools.torture.history import Fault, Span
from relay.tools.torture.run_settings import ALIVE_SECONDS
from simulator.harness.databases import Database
from simulator.harness.machine import NodeProcess
from simulator.harness.plan import LEASE, Plan
from simulator.harness.stage import PREFIX, Stage
from simulator.network import Path, Weather

# How probable it is that a seed has a kind of fault, and the seconds from one such fault to the next, on average.
HAS: Final = 0.5
EVERY_SECONDS: Final = (1.5, 15.0)
# The most faults that are under way at once.
TOGETHER: Final = (1, 1, 2, 2, 3)
# How long a node may take to serve.
START_SECONDS: Final = 30.0
KILL_EVERY_SECONDS: Final = 0.1
SLOW_SECONDS: Final = (0.02, 0.1)
# How long a failed primary is waited for until another one has its place.
REPLACED_SECONDS: Final = 20.0
# A primary that is silent for a while isn't replaced with this for a node time-out.
PATIENT_SECONDS: Final = 60.0
_LIMIT: Final = b"client-output-buffer-limit"


def rates(streams: Mapping[str, Random], plan: Plan) -> dict[str, float]:
    """Draw which kinds of faults a seed has, each from its stream, and the seconds from one to the next."""
    found: dict[str, float] = {}
    for kind, rng in streams.items():
        drawn, every = rng.random() < HAS, rng.uniform(*EVERY_SECONDS)
        has = kind in plan.only if plan.only else drawn
        if has and kind not in plan.without:
            found[kind] = every
    return found


class Faults:
    """Injects the faults of a seed. `log` has those that were."""

    def __init__(self, stage: Stage, log: list[Fault], alive: Callable[[float], Awaitable[list[str]]]) -> None:
        """`alive(seconds)` returns what doesn't work for new users within so many seconds."""
        self._stage = stage
        self._world = stage.world
        self.log = log
        self.failures: list[str] = []
        self._streams = {kind: self._world.stream(f"fault {kind}") for kind in kinds_of(stage.plan.engine)}
        self._every = rates(self._streams, stage.plan)
        self._turns = anyio.Semaphore(self._world.stream("faults together").choice(TOGETHER))
        self._server_broken = False
        self._under_way = 0
        self._alive = alive
        self.dead: list[str] = []

    async def rage(self, seconds: float) -> None:
        """Inject faults for so long. All of them are healed when this returns."""
        end = self._world.now + seconds
        async with anyio.create_task_group() as tasks:
            for kind in self._every:
                tasks.start_soon(self._rage, kind, end)

    async def _rage(self, kind: str, end: float) -> None:
        rng = self._streams[kind]
        while True:
            pause = rng.expovariate(1 / self._every[kind])
            if self._world.now + pause >= end:
                return
            await anyio.sleep(pause)
            async with self._turns:
                if self._world.now < end:
                    await self._do(kind, rng)

    async def _do(self, kind: str, rng: Random) -> None:
        nodes = self._stage.nodes
        node = nodes[rng.randrange(len(nodes))]
        if kind in _NODE:
            if not node.wanted:
                return
        elif self._server_broken or (kind in _REPLACING and not self._stage.servers.ready):
            return
        fault = Fault(kind, Span(self._world.now), node.number if kind in _NODE else -1)
        self.log.append(fault)
        self._world.note("faults", f"{kind} {fault.node} begins")
        self._under_way += 1
        if kind in _NODE:
            await _NODE[kind](self, node, rng)
        else:
            self._server_broken = True
            await _SERVER[kind](self, rng)
            self._server_broken = False
        self._under_way -= 1
        fault.span.ended = self._world.now
        self._world.note("faults", f"{kind} {fault.node} is over")

    # --- nodes

    async def _kill(self, node: NodeProcess, rng: Random) -> None:
        node.wanted = False
        node.kill()
        await self._restart(node, rng)

    async def _term(self, node: NodeProcess, rng: Random) -> None:
        node.wanted = False
        node.tell(signal.SIGTERM)
        if not await until(lambda: not node.alive, START_SECONDS):
            self.failures.append(f"node {node.number} didn't end by {self._world.now:.3f} s")
            node.kill()
        await self._restart(node, rng)

    async def _restart(self, node: NodeProcess, rng: Random) -> None:
        """Restart a node that has ended at once, soon, or after its lease has lapsed."""
        await anyio.sleep(rng.choice((0.0, 0.5, LEASE + 1)))
        node.start()
        if not await until(lambda: node.serving or not node.alive, START_SECONDS) or not node.alive:
            self.failures.append(f"node {node.number} doesn't serve by {self._world.now:.3f} s")
        node.wanted = True

    async def _pause(self, node: NodeProcess, rng: Random) -> None:
        node.wanted = False
        node.tell(signal.SIGSTOP)
        await anyio.sleep(LEASE * rng.choice((0.2, 0.5, 1.1, 2.5)))
        node.tell(signal.SIGCONT)
        node.wanted = True

    async def _stall(self, node: NodeProcess, rng: Random) -> None:
        """One callback takes long, as when the machine has other things to do."""
        if node.process is not None:
            seconds = rng.uniform(0.01, LEASE / 3)
            node.process.stall(seconds)
            await anyio.sleep(seconds)

    async def _partition(self, node: NodeProcess, rng: Random) -> None:
        """The network between a node and Redis is silent, one way or both, and connections may be cut after that."""
        node.wanted = False
        there = self._ways(node)
        back = [path.back for path in there]
        holes = rng.choice(([*there, *back], there, back))
        for path in holes:
            path.hole = True
        await anyio.sleep(LEASE * rng.choice((0.3, 0.7, 1.5, 2.5)))
        for path in holes:
            path.hole = False
        if rng.random() < 0.5:
            self._cut(node)
        node.wanted = True

    def _ways(self, node: NodeProcess) -> list[Path]:
        """Return the ways from a node to all servers of Redis."""
        return [self._stage.network.path(node.host, host) for host in self._stage.servers.hosts]

    def _cut(self, node: NodeProcess) -> None:
        """Reset all connections between a node and Redis."""
        for connection in list(self._stage.network.connections.values()):
            if connection.client.host is node.host:
                connection.reset()

    async def _slow(self, node: NodeProcess, rng: Random) -> None:
        node.wanted = False
        seconds = rng.uniform(*SLOW_SECONDS)
        ways = [(path, path.weather) for there in self._ways(node) for path in (there, there.back)]
        for path, _ in ways:
            path.weather = Weather(delay=(seconds, seconds * 1.2))
        await anyio.sleep(LEASE * rng.choice((0.5, 1.0, 2.0)))
        for path, usual in ways:
            path.weather = usual
        node.wanted = True

    async def _resets(self, node: NodeProcess, rng: Random) -> None:
        """Some connections of clients with a node are reset, or end."""
        for connection in list(self._stage.network.connections.values()):
            if connection.server is not None and connection.server.host is node.host and rng.random() < 0.5:
                if rng.random() < 0.5:
                    connection.reset()
                else:
                    connection.end(by_server=False)

    async def _clock(self, node: NodeProcess, rng: Random) -> None:
        """The wall clock of a node's machine is set, by up to a day."""
        node.host.clock.step(rng.choice((-1, 1)) * 10 ** rng.uniform(-1, 5))

    # --- the servers

    def _one(self, rng: Random) -> Database | None:
        """Return one of the servers that serve."""
        able = [database for database in self._stage.servers.primaries if database.alive]
        return rng.choice(able) if able else None

    async def _pubsub(self, rng: Random) -> None:
        for _ in range(rng.randint(1, 20)):
            for database in self._stage.servers.members:
                database.server.end_connections(lambda client: client.subscribed)
            await anyio.sleep(KILL_EVERY_SECONDS)

    async def _answers(self, rng: Random) -> None:
        """The answer to a command is lost after it was carried out, a few times."""
        for _ in range(rng.randint(1, 5)):
            if (database := self._one(rng)) is not None:
                database.server.lose_answer(lambda words: rng.random() < 0.1)
            await anyio.sleep(rng.uniform(0.05, 0.5))

    async def _buffer(self, rng: Random) -> None:
        if (database := self._one(rng)) is None:
            return
        usual = database.server.settings[_LIMIT]
        database.server.configure({_LIMIT: b"pubsub 1 1 1"})
        await anyio.sleep(rng.uniform(0.2, 1.0))
        database.server.configure({_LIMIT: usual})

    async def _flush(self, rng: Random) -> None:
        server = self._stage.database.server
        for number, database in enumerate(server.databases):
            server.evict(list(database.data), number)

    async def _evict(self, rng: Random) -> None:
        keys = Keys(PREFIX)
        some = rng.sample(range(keys.partitions), keys.partitions // rng.choice((2, 4, 16)))
        self._stage.database.server.evict(keys.partition(number).encode() for number in some)

    async def _redis_down(self, rng: Random) -> None:
        self._stage.database.kill()
        await anyio.sleep(LEASE * rng.choice((0.0, 0.3, 1.5)))
        self._stage.database.start()

    async def _redis_freeze(self, rng: Random) -> None:
        self._stage.database.freeze()
        await anyio.sleep(LEASE * rng.choice((0.2, 0.6, 1.5)))
        self._stage.database.thaw()

    async def _rollback(self, rng: Random) -> None:
        """Everything since a snapshot is undone, as when a replica is promoted that had not heard the latest."""
        snapshot = self._stage.database.server.snapshot()
        await anyio.sleep(rng.uniform(0.2, LEASE))
        self._stage.database.kill()
        self._stage.database.start(snapshot)

    async def _failover(self, rng: Random) -> None:
        """A primary dies or freezes; its replica takes its place; long after that it comes back, empty or as it was."""
        if (database := self._one(rng)) is None:
            return
        killed = rng.random() < 0.5
        if killed:
            database.kill()
        else:
            database.freeze()
        await self._replaced(database)
        await self._look(f"{database.name} {'killed' if killed else 'frozen'} and replaced")
        await anyio.sleep(LEASE * rng.choice((0.0, 0.5, 1.5)))
        if killed:
            database.start()
        else:
            database.thaw()

    async def _replaced(self, database: Database) -> None:
        if not await until(lambda: database not in self._stage.servers.primaries, REPLACED_SECONDS):
            self.failures.append(f"{database.name} isn't replaced by {self._world.now:.3f} s: the model is wrong")

    async def _look(self, when: str) -> None:
        """Check that everything works without the server that was replaced, unless something else goes wrong."""
        before = len(self.log)
        if self._under_way == 1:
            found = await self._alive(ALIVE_SECONDS)
            if len(self.log) == before:
                self.dead += [f"{when}: {what}" for what in found]

    async def _switch(self, rng: Random) -> None:
        """A replica takes a primary's place while that one lives, and keeps whoever is connected to it."""
        before = self._stage.servers.primaries
        if self._stage.servers.switch():
            await until(lambda: self._stage.servers.primaries != before, REPLACED_SECONDS)

    async def _isolate(self, rng: Random) -> None:
        """A primary of a cluster hears the others no more, nor they it; clients reach it."""
        if (database := self._one(rng)) is not None:
            cluster = self._stage.cluster
            replica = cluster.replica_of(database)
            cluster.cluster.cut_off(database.server)
            await until(lambda: replica in self._stage.servers.primaries, REPLACED_SECONDS)
            await self._look(f"{database.name} isolated and replaced")
            await anyio.sleep(rng.uniform(0.0, LEASE))
            cluster.cluster.heal()

    async def _shard_freeze(self, rng: Random) -> None:
        """A primary of a cluster is silent for so long that leases lapse, and isn't replaced."""
        if (database := self._one(rng)) is not None:
            cluster = self._stage.cluster.cluster
            usual, cluster.node_timeout = cluster.node_timeout, PATIENT_SECONDS
            database.freeze()
            await anyio.sleep(LEASE * rng.choice((0.6, 1.5, 3.0)))
            database.thaw()
            cluster.node_timeout = usual


_NODE: Final[dict[str, Callable[[Faults, NodeProcess, Random], Awaitable[None]]]] = {
    "kill": Faults._kill,
    "term": Faults._term,
    "pause": Faults._pause,
    "stall": Faults._stall,
    "partition": Faults._partition,
    "slow": Faults._slow,
    "resets": Faults._resets,
    "clock": Faults._clock,
}
_SERVER: Final[dict[str, Callable[[Faults, Random], Awaitable[None]]]] = {
    "pubsub": Faults._pubsub,
    "answers": Faults._answers,
    "buffer": Faults._buffer,
    "flush": Faults._flush,
    "evict": Faults._evict,
    "redis-down": Faults._redis_down,
    "redis-freeze": Faults._redis_freeze,
    "rollback": Faults._rollback,
    "failover": Faults._failover,
    "switch": Faults._switch,
    "isolate": Faults._isolate,
    "shard-freeze": Faults._shard_freeze,
}
KINDS: Final = (*_NODE, *_SERVER)
# Faults that only some engines can have. Those that replace a server need a replica that is ready.
_SINGLE: Final = frozenset({"flush", "evict", "redis-down", "redis-freeze", "rollback"})
_CLUSTER: Final = frozenset({"isolate", "shard-freeze"})
_REPLACING: Final = frozenset({"failover", "switch"}) | _CLUSTER


def kinds_of(engine: str) -> tuple[str, ...]:
    """Return the faults that an engine can have."""
    never = {"single": _REPLACING, "sentinel": _SINGLE | _CLUSTER, "cluster": _SINGLE}[engine]
    return tuple(kind for kind in KINDS if kind not in never)
