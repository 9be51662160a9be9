"""The servers of Redis that a run has: one, a primary and a replica under sentinels, or a cluster."""

from collections.abc import Callable
from typing import Final

from relay.tools.testbed.redis_kind import DOWN_AFTER, NODE_TIMEOUT
from simulator.harness.databases import PORT, Database, Guard
from simulator.network import Host, Network
from simulator.redis import Cluster, Sentinels
from simulator.world import World

TICK_SECONDS: Final = 0.1
NAME: Final = "redis"  # of the server, where there is one
SERVICE: Final = "relay"
SENTINELS: Final = 3
PRIMARIES: Final = 3
# How long a replica takes to apply what its primary has sent it: the shortest and the longest.
LAG_SECONDS: Final = (0.000_5, 0.05)


class Servers:
    """The servers of an engine, and the replicas that may take their places."""

    count = 1

    def __init__(self, world: World, network: Network) -> None:
        self.world = world
        self.network = network
        self.members = [self._member(network, number) for number in range(self.count)]

    def _member(self, network: Network, number: int) -> Database:
        return Database(self.world, f"redis{number}", network.host(f"redis{number}", f"10.0.1.{number + 1}"))

    @property
    def url(self) -> str:
        """The URL that nodes are given."""
        raise NotImplementedError

    @property
    def hosts(self) -> list[Host]:
        """Return the machines that nodes talk to."""
        return [member.host for member in self.members]

    def start(self) -> None:
        """Start all of them."""
        for member in self.members:
            member.start()

    @property
    def primaries(self) -> list[Database]:
        """Return the servers that serve."""
        return self.members

    @property
    def ready(self) -> bool:
        """Whether each primary has a replica that could take its place."""
        return False

    def switch(self) -> bool:
        """Have a replica take the place of a live primary. Return whether that is possible."""
        return False

    def retire(self) -> None:
        """End a server that was replaced and that nobody needs any more."""

    def _every_tick(self, act: Callable[[], None]) -> None:
        def tick() -> None:
            act()
            self.world.call_in(TICK_SECONDS, tick)

        tick()

    def _lag(self) -> Callable[[Callable[[], None]], None]:
        draw = self.world.stream("lag of replicas")
        return lambda step: void(self.world.call_in(draw.uniform(*LAG_SECONDS), step))


def void(_: object) -> None:
    """Have no result."""


class Alone(Servers):
    """One server behind a name, and a spare one, which may take its place: then the name leads there."""

    def __init__(self, world: World, network: Network) -> None:
        super().__init__(world, network)
        self._spare = self._member(network, 1)
        network.names.set(NAME, *self.members[0].host.addresses)

    @property
    def url(self) -> str:
        return f"redis://{NAME}:{PORT}"

    @property
    def hosts(self) -> list[Host]:
        return [*super().hosts, self._spare.host]

    @property
    def ready(self) -> bool:
        (member,) = self.members
        return member.alive and not member.server.frozen

    def switch(self) -> bool:
        """Have the spare server take over all data and the name. The old one keeps its clients and is a replica."""
        (old,), new = self.members, self._spare
        new.start()
        new.server.replication.follow(old.server)
        new.server.replication.lead()
        self.network.names.set(NAME, *new.host.addresses)
        self.members, self._spare = [new], old
        old.server.replication.follow(new.server)
        return True

    def retire(self) -> None:
        self._spare.kill()


class WithSentinels(Servers):
    """A primary and a replica, under three sentinels."""

    count = 2

    def __init__(self, world: World, network: Network) -> None:
        super().__init__(world, network)
        self.guards = [
            Guard(world, f"sentinel{number}", network.host(f"sentinel{number}", f"10.0.4.{number + 1}"))
            for number in range(SENTINELS)
        ]
        for member in self.members:
            member.server.replication.later = self._lag()
        self.together = Sentinels(
            [guard.sentinel for guard in self.guards],
            [member.server for member in self.members],
            lambda: world.now,
            world.stream("sentinels"),
            service=SERVICE,
            down_after=DOWN_AFTER,
        )

    @property
    def url(self) -> str:
        hosts = ",".join(f"{guard.host.addresses[0]}:{guard.port}" for guard in self.guards)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def hosts(self) -> list[Host]:
        return [*super().hosts, *(guard.host for guard in self.guards)]

    def start(self) -> None:
        super().start()
        for guard in self.guards:
            guard.start()
        self._every_tick(self.together.tick)

    @property
    def primaries(self) -> list[Database]:
        latest = max((guard.sentinel for guard in self.guards), key=lambda sentinel: sentinel.epoch)
        return [member for member in self.members if member.server is latest.primary]

    @property
    def ready(self) -> bool:
        servers = [member.server for member in self.members]
        alive = all(server.alive and not server.frozen for server in servers)
        return alive and sum(server.replication.linked for server in servers) == 1

    def switch(self) -> bool:
        return self.together.failover(self.guards[0].sentinel)


class InCluster(Servers):
    """Three primaries with a replica each."""

    count = 2 * PRIMARIES

    def __init__(self, world: World, network: Network) -> None:
        super().__init__(world, network)
        for member in self.members:
            member.server.replication.later = self._lag()
        servers = [member.server for member in self.members]
        self.cluster = Cluster(
            servers,
            lambda: world.now,
            world.stream("cluster"),
            primaries=PRIMARIES,
            node_timeout=NODE_TIMEOUT,
        )
        self.cluster.later = self._lag()

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{member.host.addresses[0]}:{PORT}' for member in self.members)}"

    def start(self) -> None:
        super().start()
        self._every_tick(self.cluster.tick)

    @property
    def primaries(self) -> list[Database]:
        """Return those that serve slots, as the member sees it that knows of the latest change."""
        latest = max((one for one in self.cluster.members if one.present), key=lambda one: one.epoch, default=None)
        if latest is None:
            return []
        return [one for one in self.members if latest.owners.count(self.cluster.member(one.server).id)]

    @property
    def ready(self) -> bool:
        members = [self.cluster.member(member.server) for member in self.members]
        if not all(one.present and one.well for one in members):
            return False
        linked = [one for one in members if one.server.replication.linked]
        return len({one.me.primary for one in linked}) == PRIMARIES

    def slots(self, primary: Database) -> list[range]:
        """Return the slots that a primary serves, as it believes itself."""
        member = self.cluster.member(primary.server)
        return [range(first, last + 1) for first, last in member.owners.ranges(member.id)]

    def replica_of(self, primary: Database) -> Database | None:
        """Return a replica of a primary that hears it."""
        id = self.cluster.member(primary.server).id
        return next(
            (
                member
                for member in self.members
                if self.cluster.member(member.server).me.primary == id and member.server.replication.linked
            ),
            None,
        )

    def switch(self) -> bool:
        replicas = [replica for primary in self.primaries if (replica := self.replica_of(primary)) is not None]
        if not replicas:
            return False
        self.cluster.switch(self.world.stream(f"switch {self.world.now}").choice(replicas).server)
        return True


ENGINES: Final[dict[str, type[Servers]]] = {"single": Alone, "sentinel": WithSentinels, "cluster": InCluster}
