"""What goes wrong with the servers of Redis."""

import socket
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import anyio

from relay.redis_client.keys import Keys
from relay.tools.testbed.waiting import until
from relay.tools.torture.run_settings import FREE_SECONDS
from simulator.harness.breaking import REPLACED_SECONDS, Breaking
from simulator.harness.databases import Database
from simulator.harness.plan import LEASE
from simulator.harness.servers import NAME
from simulator.harness.stage import PREFIX
from simulator.redis.slots import slot_of

KILL_EVERY_SECONDS: Final = 0.1
# A primary that is silent for a while isn't replaced with this for a node time-out.
PATIENT_SECONDS: Final = 60.0
_LIMIT: Final = b"client-output-buffer-limit"


async def _pubsub(breaking: Breaking, rng: Random) -> None:
    for _ in range(rng.randint(1, 20)):
        for database in breaking.stage.servers.members:
            database.server.end_connections(lambda client: client.subscribed)
        await anyio.sleep(KILL_EVERY_SECONDS)


async def _answers(breaking: Breaking, rng: Random) -> None:
    """The answer to a command is lost after it was carried out, a few times."""
    for _ in range(rng.randint(1, 5)):
        if (database := breaking.one(rng)) is not None:
            database.server.lose_answer(lambda words: rng.random() < 0.1)
        await anyio.sleep(rng.uniform(0.05, 0.5))


async def _buffer(breaking: Breaking, rng: Random) -> None:
    if (database := breaking.one(rng)) is None:
        return
    usual = database.server.settings[_LIMIT]
    database.server.configure({_LIMIT: b"pubsub 1 1 1"})
    await anyio.sleep(rng.uniform(0.2, 1.0))
    database.server.configure({_LIMIT: usual})


async def _flush(breaking: Breaking, rng: Random) -> None:
    server = breaking.stage.database.server
    for number, database in enumerate(server.databases):
        server.evict(list(database.data), number)


async def _evict(breaking: Breaking, rng: Random) -> None:
    keys = Keys(PREFIX)
    some = rng.sample(range(keys.partitions), keys.partitions // rng.choice((2, 4, 16)))
    breaking.stage.database.server.evict(keys.partition(number).encode() for number in some)


async def _redis_down(breaking: Breaking, rng: Random) -> None:
    breaking.stage.database.kill()
    await anyio.sleep(LEASE * rng.choice((0.0, 0.3, 1.5)))
    breaking.stage.database.start()


async def _redis_freeze(breaking: Breaking, rng: Random) -> None:
    breaking.stage.database.freeze()
    await anyio.sleep(LEASE * rng.choice((0.2, 0.6, 1.5)))
    breaking.stage.database.thaw()


async def _rollback(breaking: Breaking, rng: Random) -> None:
    """Everything since a snapshot is undone, as when a replica is promoted that had not heard the latest."""
    snapshot = breaking.stage.database.server.snapshot()
    await anyio.sleep(rng.uniform(0.2, LEASE))
    breaking.stage.database.kill()
    breaking.stage.database.start(snapshot)


async def _failover(breaking: Breaking, rng: Random) -> None:
    """A primary dies or freezes; its replica takes its place; long after that it comes back, empty or as it was."""
    if (database := breaking.one(rng)) is not None:
        await _failover_of(breaking, database, rng)


async def _failover_of(breaking: Breaking, database: Database, rng: Random) -> None:
    killed = rng.random() < 0.5
    if killed:
        database.kill()
    else:
        database.freeze()
    await breaking.replaced(database)
    await breaking.look(f"{database.name} {'killed' if killed else 'frozen'} and replaced")
    await anyio.sleep(LEASE * rng.choice((0.0, 0.5, 1.5)))
    if killed:
        database.start()
    else:
        database.thaw()


async def _switch(breaking: Breaking, rng: Random) -> None:
    """A replica replaces a primary that is alive, and the primary keeps its connections."""
    servers = breaking.stage.servers
    before = servers.primaries
    if servers.switch():
        await until(lambda: servers.primaries != before, REPLACED_SECONDS)
        await breaking.look(f"{before[0].name} replaced and alive")
        await anyio.sleep(LEASE * rng.choice((0.0, 1.0)))
        servers.retire()


async def _names(breaking: Breaking, rng: Random) -> None:
    """The name server is silent, or has an error for each name. Nodes know the former addresses."""
    names = breaking.stage.network.names
    silent = rng.random() < 0.5
    if silent:
        names.hanging.add("*")
    else:
        names.fail(NAME, socket.EAI_AGAIN)
    await anyio.sleep(LEASE * rng.choice((0.3, 1.0, 2.5)))
    names.hanging.clear()
    names.heal(NAME)


async def _redis_clock(breaking: Breaking, rng: Random) -> None:
    """A clock of a machine with a server is set, by up to a day. Servers have no other fault for a lease around it."""
    await anyio.sleep(LEASE)
    if (database := breaking.one(rng)) is not None:
        database.host.clock.step(rng.choice((-1, 1)) * 10 ** rng.uniform(-1, 5))
    await anyio.sleep(LEASE)


async def _slots(breaking: Breaking, rng: Random) -> None:
    """Slots move to other primaries of a cluster while they are in use: those of names, leases and inboxes."""
    cluster, keys = breaking.stage.cluster, Keys(PREFIX)
    nodes = [node.node_id for node in breaking.stage.nodes if node.node_id]
    names = [keys.partition(rng.randrange(keys.partitions)) for _ in range(rng.randint(1, 20))]
    names += [key(node) for node in nodes for key in (keys.lease, keys.inbox) if rng.random() < 0.3]
    for slot in dict.fromkeys(slot_of(name.encode()) for name in names):
        if (target := breaking.one(rng)) is not None:
            cluster.cluster.begin_move(slot, target.server)
            await anyio.sleep(rng.choice((0.0, rng.uniform(0.0, 0.5))))
            cluster.cluster.end_move(slot)


async def _each_primary(breaking: Breaking, rng: Random) -> None:
    """One primary after the other dies or freezes, is replaced, and comes back as a replica."""
    servers = breaking.stage.servers
    for database in list(servers.primaries):
        if not await until(lambda: servers.ready, REPLACED_SECONDS):
            breaking.failures.append(f"no replicas are ready at {breaking.world.now:.3f} s: the model is wrong")
            return
        if database in servers.primaries:
            fault = breaking.begin("failover")
            await _failover_of(breaking, database, rng)
            breaking.end(fault)


async def _isolate(breaking: Breaking, rng: Random) -> None:
    """A primary of a cluster hears the others no more, nor they it; clients reach it."""
    if (database := breaking.one(rng)) is not None:
        cluster = breaking.stage.cluster
        replica = cluster.replica_of(database)
        cluster.cluster.cut_off(database.server)
        await until(lambda: replica in breaking.stage.servers.primaries, REPLACED_SECONDS)
        await breaking.look(f"{database.name} isolated and replaced")
        await anyio.sleep(rng.uniform(0.0, LEASE))
        cluster.cluster.heal()


async def _shard_freeze(breaking: Breaking, rng: Random) -> None:
    """A primary of a cluster is silent until leases lapse, and isn't replaced.

    What needs only the others works meanwhile.
    """
    if (database := breaking.one(rng)) is not None:
        cluster, keys = breaking.stage.cluster, Keys(PREFIX)
        healthy = [some for one in cluster.primaries if one is not database for some in cluster.slots(one)]
        spared = [
            node.number
            for node in breaking.stage.nodes
            if all(
                any(slot_of(key.encode()) in some for some in healthy)
                for key in (keys.lease(node.node_id), keys.inbox(node.node_id))
            )
        ]
        usual, cluster.cluster.node_timeout = cluster.cluster.node_timeout, PATIENT_SECONDS
        seconds = LEASE * rng.choice((0.6, 1.5, 3.0))
        database.freeze()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, seconds)
            await breaking.look(f"{database.name} silent", FREE_SECONDS, spared, healthy)
        database.thaw()
        cluster.cluster.node_timeout = usual


SERVER: Final[dict[str, Callable[[Breaking, Random], Awaitable[None]]]] = {
    "pubsub": _pubsub,
    "answers": _answers,
    "buffer": _buffer,
    "flush": _flush,
    "evict": _evict,
    "redis-down": _redis_down,
    "redis-freeze": _redis_freeze,
    "rollback": _rollback,
    "names": _names,
    "redis-clock": _redis_clock,
    "failover": _failover,
    "each-primary": _each_primary,
    "switch": _switch,
    "isolate": _isolate,
    "shard-freeze": _shard_freeze,
    "slots": _slots,
}
