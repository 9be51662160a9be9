"""Sentinels: what they answer, how they find out that a primary is gone, and what they do then.

They watch one service together. Each has its own view, so that for a moment after a failover some name the old primary
and some the new one. `Sentinels.tick` moves all of them on; nothing happens between two ticks. Their patience is
measured on a clock that never steps (`monotonic`).
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, cast

from simulator.redis.commands import Commands
from simulator.redis.endpoint import Endpoint
from simulator.redis.pubsub import SUBSCRIPTIONS
from simulator.redis.replies import CommandError, Encoded
from simulator.redis.server import Server
from simulator.redis.sessions import SESSIONS

if TYPE_CHECKING:
    from simulator.redis.connection import ClientConnection

SENTINEL: Final = Commands()

# How long sentinels take for the parts of a failover, in seconds: the first is drawn up to this, so that not all of
# them want to lead it.
START_SECONDS: Final = 1.0
PROMOTION_SECONDS: Final = 1.0  # until a promoted replica is seen to be one (INFO, once a second)
HELLO_SECONDS: Final = 2.0  # how often each tells the others of its configuration
# How long a server that should be a replica may call itself a primary until it is told again.
RECONFIGURE_SECONDS: Final = 8.0
_NO_ARRAY: Final = Encoded(b"*-1\r\n")
_UNKNOWN: Final = "ERR No such master with that name"


class Sentinel(Endpoint):
    """One sentinel. `primary` and `epoch` are its configuration, which `Sentinels` changes."""

    commands = Commands(SESSIONS, SUBSCRIPTIONS, SENTINEL)

    def __init__(
        self,
        clock: Callable[[], float],
        random: Random,
        *,
        host: str = "127.0.0.1",
        port: int = 26379,
        password: str | None = None,
    ) -> None:
        super().__init__(clock, random, host=host, port=port, password=password)
        self.databases = []
        self.id = f"{random.getrandbits(160):040x}"  # stays the same over restarts
        self.together: Sentinels | None = None
        self.primary: Server | None = None
        self.epoch = 0
        self.heard: dict[Server, float] = {}  # when each server last answered
        self.unsettled: dict[Server, float] = {}  # since when each that should be a replica says it is a primary
        self.adopts: tuple[float, Server, int] | None = None  # a newer configuration, and when it hears of it
        self.voted = 0  # the last epoch in which it voted
        self.acts = 0.0  # not before that it begins a failover

    def restart(self) -> None:
        """Start a process in the place of the one that ended. It has its configuration from a file."""
        assert not self.alive, "it is running"
        self.alive = True
        self.heard.clear()
        self.unsettled.clear()
        self.begin()

    def information(self, sections: tuple[bytes, ...]) -> bytes:
        if sections and b"server" not in sections:
            return b""
        return f"# Server\r\nredis_version:7.2.4\r\nserver_mode:sentinel\r\nrun_id:{self.run_id}\r\n".encode()

    def role(self) -> list[object]:
        return [b"sentinel", [self.together.service] if self.together is not None else []]

    def state(self) -> dict[object, object]:
        return {b"mode": b"sentinel", b"modules": []}

    def switch(self, primary: Server, epoch: int) -> None:
        """Adopt a newer configuration, and tell the subscribers of +switch-master."""
        old, self.primary, self.epoch, self.adopts = self.primary, primary, epoch, None
        if old is not None and old is not primary and self.together is not None:
            words = [self.together.service, old.host, b"%d" % old.port, primary.host, b"%d" % primary.port]
            self.channels.publish(b"+switch-master", b" ".join(words))
            self.flush()


class Sentinels:
    """Some sentinels that watch one service, and its servers, of which the first is the primary at the beginning.

    `reaches(sentinel, server)` tells whether one hears the other; the harness may replace it. `quorum` of them have to
    find the primary silent for `down_after` seconds, and most of all have to agree on who leads the failover.
    """

    def __init__(
        self,
        sentinels: Sequence[Sentinel],
        servers: Sequence[Server],
        monotonic: Callable[[], float],
        random: Random,
        *,
        service: str = "relay",
        quorum: int = 2,
        down_after: float = 1.0,
        failover_timeout: float = 5.0,
    ) -> None:
        self.sentinels = sentinels
        self.servers = servers
        self.service = service.encode()
        self.quorum = quorum
        self.down_after = down_after
        self.failover_timeout = failover_timeout
        self.reaches: Callable[[Endpoint, Endpoint], bool] = lambda one, other: one.alive and _answers(other)
        self.failovers = 0
        self._monotonic = monotonic
        self._random = random
        self._promoted: tuple[float, Sentinel, Server, int] | None = None  # when it is done, leader, server, epoch
        for sentinel in sentinels:
            sentinel.together, sentinel.primary = self, servers[0]
        for server in servers[1:]:
            server.replication.follow(servers[0])

    # --- views

    def others(self, sentinel: Sentinel) -> Iterable[Sentinel]:
        """Return the other sentinels."""
        return (other for other in self.sentinels if other is not sentinel)

    def is_down(self, sentinel: Sentinel, server: Server) -> bool:
        """Return whether a sentinel has heard nothing of a server for too long."""
        now = self._monotonic()
        return now - sentinel.heard.setdefault(server, now) > self.down_after

    def _living(self) -> list[Sentinel]:
        return [sentinel for sentinel in self.sentinels if _answers(sentinel)]

    # --- what they do

    def tick(self) -> None:
        """Move all sentinels on. Call this ten times a second."""
        now = self._monotonic()
        for sentinel in self._living():
            for server in self.servers:
                if self.reaches(sentinel, server):
                    sentinel.heard[server] = now
            if sentinel.adopts is not None and now >= sentinel.adopts[0]:
                sentinel.switch(*sentinel.adopts[1:])
        if self._promoted is not None:
            self._complete(now)
            return
        for sentinel in self._living():
            if self._wants_failover(sentinel, now) and self._begin(sentinel, now):
                return
        self._tell(now)
        self._reconfigure(now)

    def _wants_failover(self, sentinel: Sentinel, now: float) -> bool:
        """Return whether a sentinel would lead a failover now: enough others find the primary silent, too."""
        primary = sentinel.primary
        if primary is None or not self.is_down(sentinel, primary):
            sentinel.acts = 0.0
            return False
        asked = [one for one in self._living() if one is sentinel or self.reaches(sentinel, one)]
        agreeing = [one for one in asked if one.primary is primary and self.is_down(one, primary)]
        if len(agreeing) < self.quorum:
            return False
        if not sentinel.acts:
            sentinel.acts = now + self._random.uniform(0, START_SECONDS)
        return now >= sentinel.acts

    def _begin(self, leader: Sentinel, now: float) -> bool:
        """Let a sentinel try to lead a failover. Return whether it begins."""
        leader.acts = now + 2 * self.failover_timeout + self._random.uniform(0, START_SECONDS)
        epoch = max(one.epoch for one in self.sentinels) + 1
        epoch = max(epoch, *(one.voted + 1 for one in self.sentinels))
        voters = [one for one in self._living() if one is leader or self.reaches(leader, one)]
        if 2 * len(voters) <= len(self.sentinels):
            return False
        for voter in voters:
            voter.voted = epoch
            voter.acts = max(voter.acts, now + 2 * self.failover_timeout)  # who has voted leads none for a while
        replica = self._best(leader)
        if replica is None:
            return False
        self._promote(leader, replica, epoch, now)
        return True

    def _best(self, leader: Sentinel) -> Server | None:
        """Return the server to promote: the replica that is the farthest. It may call itself a primary already, after
        a failover whose leader died on the way."""
        able = [
            server
            for server in self.servers
            if server is not leader.primary and not self.is_down(leader, server) and self.reaches(leader, server)
        ]
        return max(able, key=lambda server: (server.replication.offset, server.run_id), default=None)

    def _promote(self, leader: Sentinel, replica: Server, epoch: int, now: float) -> None:
        replica.replication.lead()
        replica.end_connections()  # the sentinel does that, so that clients notice (CLIENT KILL TYPE normal, pubsub)
        self._promoted = (now + self._random.uniform(0, PROMOTION_SECONDS), leader, replica, epoch)

    def _complete(self, now: float) -> None:
        """End the failover once the leader sees that the replica is a primary."""
        assert self._promoted is not None
        when, leader, primary, epoch = self._promoted
        if now < when:
            return
        self._promoted = None
        if not _answers(leader):
            return  # nobody adopts it; the next failover settles who is the primary
        self.failovers += 1
        leader.switch(primary, epoch)
        for server in self.servers:
            if server is not primary and server.replication.primary is not None and self.reaches(leader, server):
                self._demote(server, primary)

    def _tell(self, now: float) -> None:
        """Have sentinels with an old configuration hear of the latest one, as they do every other second."""
        living = self._living()
        latest = max(living, key=lambda one: one.epoch, default=None)
        if latest is None or latest.primary is None:
            return
        for sentinel in living:
            heard = sentinel.epoch < latest.epoch and self.reaches(sentinel, latest)
            if heard and sentinel.adopts is None:
                when = now + self._random.uniform(0, HELLO_SECONDS)
                sentinel.adopts = (when, latest.primary, latest.epoch)

    def _reconfigure(self, now: float) -> None:
        """Make replicas of servers that shouldn't be primaries, or follow another one, after a while."""
        for sentinel in self._living():
            primary = sentinel.primary
            for server in self.servers:
                wrong = server is not primary and server.replication.primary is not primary
                if (
                    primary is None
                    or not wrong
                    or not self.reaches(sentinel, server)
                    or self.is_down(sentinel, primary)
                ):
                    sentinel.unsettled.pop(server, None)
                elif now - sentinel.unsettled.setdefault(server, now) >= RECONFIGURE_SECONDS:
                    del sentinel.unsettled[server]
                    self._demote(server, primary)

    def _demote(self, server: Server, primary: Server) -> None:
        server.replication.follow(primary)
        server.end_connections()

    def failover(self, leader: Sentinel) -> bool:
        """Replace the primary by a replica although it lives (SENTINEL FAILOVER). Return whether that begins."""
        return self._promoted is None and self._begin(leader, self._monotonic())


def _answers(endpoint: Endpoint) -> bool:
    return endpoint.alive and not endpoint.frozen


# --- commands


def _watched(client: "ClientConnection", name: bytes) -> tuple[Sentinel, Sentinels, Server] | None:
    """Return the sentinel of a connection, all sentinels, and the primary of the service of this name."""
    sentinel = cast("Sentinel", client.server)
    if sentinel.together is None or sentinel.primary is None or name != sentinel.together.service:
        return None
    return sentinel, sentinel.together, sentinel.primary


def _known(client: "ClientConnection", name: bytes) -> tuple[Sentinel, Sentinels, Server]:
    found = _watched(client, name)
    if found is None:
        raise CommandError(_UNKNOWN)
    return found


@SENTINEL.add("publish", 3)
def _publish(client: "ClientConnection", words: list[bytes]) -> object:
    raise CommandError("ERR Only HELLO messages are accepted by Sentinel instances.")


@SENTINEL.add("sentinel myid", 2)
def _myid(client: "ClientConnection", words: list[bytes]) -> object:
    return cast("Sentinel", client.server).id.encode()


@SENTINEL.add("sentinel get-master-addr-by-name", 3)
def _get_master(client: "ClientConnection", words: list[bytes]) -> object:
    found = _watched(client, words[2])
    if found is None:
        return None if client.resp3 else _NO_ARRAY
    return [found[2].host, b"%d" % found[2].port]


@SENTINEL.add("sentinel master", 3)
def _master(client: "ClientConnection", words: list[bytes]) -> object:
    sentinel, together, primary = _known(client, words[2])
    down = together.is_down(sentinel, primary)
    return {
        b"name": together.service,
        **_address(primary),
        b"runid": primary.run_id.encode(),
        b"flags": b"s_down,master" if down else b"master",
        b"role-reported": b"master",
        b"config-epoch": b"%d" % sentinel.epoch,
        b"num-slaves": b"%d" % (len(together.servers) - 1),
        b"num-other-sentinels": b"%d" % (len(together.sentinels) - 1),
        b"quorum": b"%d" % together.quorum,
        b"failover-timeout": b"%d" % round(together.failover_timeout * 1000),
    }


@SENTINEL.add("sentinel sentinels", 3)
def _sentinels(client: "ClientConnection", words: list[bytes]) -> object:
    sentinel, together, _ = _known(client, words[2])
    return [
        {b"name": other.id.encode(), **_address(other), b"runid": other.id.encode(), b"flags": b"sentinel"}
        for other in together.others(sentinel)
    ]


@SENTINEL.add("sentinel replicas", 3)
@SENTINEL.add("sentinel slaves", 3)
def _replicas(client: "ClientConnection", words: list[bytes]) -> object:
    sentinel, together, primary = _known(client, words[2])
    return [
        {
            b"name": server.host + b":%d" % server.port,
            **_address(server),
            b"runid": server.run_id.encode(),
            b"flags": b"s_down,slave" if together.is_down(sentinel, server) else b"slave",
            b"master-link-status": b"ok" if server.replication.linked else b"err",
            b"role-reported": b"master" if server.replication.primary is None else b"slave",
        }
        for server in together.servers
        if server is not primary
    ]


@SENTINEL.add("sentinel failover", 3)
def _failover(client: "ClientConnection", words: list[bytes]) -> object:
    sentinel, together, _ = _known(client, words[2])
    if not together.failover(sentinel):
        raise CommandError("INPROG Failover already in progress")
    return Encoded(b"+OK\r\n")


def _address(endpoint: Endpoint) -> dict[object, object]:
    return {b"ip": endpoint.host, b"port": b"%d" % endpoint.port}
