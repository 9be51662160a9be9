"""The settings of one run. An invalid value raises ConfigError."""

import secrets
import shlex
import sys
from typing import Final

from msgspec import Struct

from relay.configuration.config import GRACE_SECONDS, LEASE_SECONDS, ConfigError, check_range, show_server
from relay.tools.testbed import certificates
from relay.tools.testbed.redis_kind import DOWN_AFTER, NODE_TIMEOUT, RedisKind

LEASE: Final = 2.0  # seconds; short, so that many of them pass in one run
GRACE: Final = 8.0
DRAIN: Final = 1.0
# The command that starts a node, without its options.
NODE: Final = (sys.executable, "-P", "-m", "relay", "node")

# The faults of the nemesis, in words for people.
FAULTS: Final = {
    "kill": "SIGKILL of a node",
    "term": "SIGTERM of a node",
    "pause": "SIGSTOP of a node, for longer than its lease or not",
    "partition": "a node's network to Redis goes silent",
    "slow": "a node's network to Redis is slow, so that what takes several steps meets other things under way",
    "deaf": "a node's subscription is half open",
    "pubsub": "CLIENT KILL TYPE pubsub at 10 Hz",
    "buffer": "subscribers are cut off for their output buffers",
    "flush": "FLUSHALL",
    "evict": "some of the directory's keys are gone",
    "redis-down": "SIGKILL of Redis, restarted empty",
    "redis-freeze": "SIGSTOP of Redis",
    "rollback": "Redis comes back with an older state, as after a failover that lost writes",
    "failover": "SIGKILL or SIGSTOP of a primary, until well after its replica has taken its place",
    "switch": "a replica takes a primary's place, which goes on as its replica and keeps its connections",
    "isolate": "a primary of a cluster is cut off from the others, and not from its clients",
    "shard-freeze": "SIGSTOP of a primary of a cluster, for less than its node time-out",
}


# The faults of each engine. Sentinels and clusters give nodes the servers' addresses, so there can be no proxy.
_WITH_FAILOVER: Final = ("kill", "term", "pause", "failover", "switch")
FAULTS_OF: Final = {
    RedisKind.STANDALONE: tuple(fault for fault in FAULTS if fault not in ("failover", "isolate", "shard-freeze")),
    RedisKind.SENTINEL: _WITH_FAILOVER,
    RedisKind.CLUSTER: (*_WITH_FAILOVER, "isolate", "shard-freeze"),
}
# The faults that need a replica that is ready.
REPLACING: Final = frozenset({"failover", "switch", "isolate", "shard-freeze"})

# The time that a failover may take after a primary is considered as failed.
FAILOVER_SECONDS: Final = 5.0
# After each fault, and after a failover whose old primary is still down, everything has to work for new users within
# this time. It includes the lease for which new names wait if Redis has lost data.
ALIVE_SECONDS: Final = 5.0 + LEASE
# While one shard of a cluster is silent, everything that needs only other shards has to work within this time.
FREE_SECONDS: Final = 3.0
# After the last fault everything has to work again for all users within this time.
RECOVERY_SECONDS: Final = {
    RedisKind.STANDALONE: 10.0,
    RedisKind.SENTINEL: 10.0 + DOWN_AFTER + FAILOVER_SECONDS,
    RedisKind.CLUSTER: 10.0 + NODE_TIMEOUT + FAILOVER_SECONDS,
}

# These bounds catch a wrong unit. A run of a day is allowed.
_BOUNDS: Final = {"--seconds": (1, 24 * 3600), "--nodes": (1, 16), "--users": (2, 1000)}


class RunSettings(Struct, frozen=True):
    """The settings of one run. The same settings draw the same traffic and the same faults."""

    seconds: float = 60.0
    seed: int = 0
    faults: tuple[str, ...] = FAULTS_OF[RedisKind.STANDALONE]
    nodes: int = 3
    users: int = 40
    servers: tuple[tuple[str, int], ...] = ()  # the nodes of a running cluster; empty if the run starts its own
    lease: float = LEASE  # the nodes' settings, in seconds
    grace: float = GRACE
    command: tuple[str, ...] = NODE  # starts a node
    engine: RedisKind = RedisKind.STANDALONE
    tls: bool = False  # between clients and nodes
    ws: bool = False  # every second connection of a program is over WebSocket
    ca: str | None = None  # a file with trusted certificates; None for the system's, or that of the run's own nodes

    def __post_init__(self) -> None:
        for option, value in (("--seconds", self.seconds), ("--nodes", self.nodes), ("--users", self.users)):
            check_range(option, value, _BOUNDS[option], "")
        check_range("--lease", self.lease, LEASE_SECONDS, "seconds")
        check_range("--grace", self.grace, GRACE_SECONDS, "seconds")
        for fault in self.faults:
            if fault not in FAULTS:
                raise ConfigError(f"--fault knows {', '.join(FAULTS)}, not {fault!r}")
            if fault not in FAULTS_OF[self.engine]:
                known = ", ".join(FAULTS_OF[self.engine])
                raise ConfigError(f"--fault {fault} isn't possible with --engine {self.engine}, which has {known}")
        if self.servers and self.faults:
            raise ConfigError("--fault needs a cluster of its own: leave --server out")
        if self.servers and self.engine is not RedisKind.STANDALONE:
            raise ConfigError("--engine needs a cluster of its own: leave --server out")
        certificates.check(tls=self.tls, ca=self.ca, servers=bool(self.servers))

    @property
    def recovery(self) -> float:
        """Seconds after the last fault within which everything has to work again."""
        return RECOVERY_SECONDS[self.engine]

    @property
    def again(self) -> str:
        """The command that repeats the run with the same settings."""
        words = ["relay", "torture", "--seed", str(self.seed), "--seconds", f"{self.seconds:g}"]
        words += ["--tls"] * self.tls + ["--ws"] * self.ws
        if self.servers:
            words += ["--ca", shlex.quote(self.ca)] if self.ca else []
            return " ".join([*words, *(f"--server {show_server(server)}" for server in self.servers)])
        if self.engine is not RedisKind.STANDALONE:
            words += ["--engine", self.engine]
        words += ["--nodes", str(self.nodes), "--users", str(self.users)]
        return " ".join([*words, "--fault", ",".join(self.faults) or "none"])


def parse_engine(text: str) -> RedisKind:
    """Return the engine of this name, such as `cluster`. Raises ConfigError."""
    if text not in tuple(RedisKind):
        raise ConfigError(f"--engine must be one of {', '.join(RedisKind)}, not {text!r}")
    return RedisKind(text)


def parse_faults(text: str, engine: RedisKind = RedisKind.STANDALONE) -> tuple[str, ...]:
    """Return the faults in a list such as `kill,pause`, or `all` of the engine, or `none`."""
    if text in ("all", "none"):
        return FAULTS_OF[engine] if text == "all" else ()
    return tuple(word.strip() for word in text.split(",") if word.strip())


def new_seed() -> int:
    """Return a seed that is short enough to type."""
    return secrets.randbelow(1_000_000)
