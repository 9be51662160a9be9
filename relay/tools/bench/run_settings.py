"""The settings of one run. An invalid value raises ConfigError."""

import os
from typing import Final, Literal

from msgspec import Struct

from relay.configuration.config import ConfigError, check_range
from relay.tools.testbed import certificates

Dialect = Literal["json", "text"]
Address = tuple[str, int]

IN_FLIGHT: Final = 1  # one message, like a person who waits for an answer
PAIRS: Final = 100
SECONDS: Final = 10.0
# Half of the cores, because cluster and workers often share a machine. More than four are rarely needed to load one.
PROCESSES: Final = max(1, min(4, (os.cpu_count() or 1) // 2))

# A node's default window. Beyond it a node stops reading, which the latency would then measure.
MAX_IN_FLIGHT: Final = 256
_BOUNDS: Final = {
    "--pairs": (1, 30_000),  # two connections each; more need more addresses than one machine has ports
    "--in-flight": (1, MAX_IN_FLIGHT),
    "--rate": (1, 10_000_000),
    "--seconds": (1, 24 * 3600),
    "--processes": (1, 64),
}


class RunSettings(Struct, frozen=True):
    """The settings of one run. The load is either `in_flight` for each pair, or `rate` messages a second in total."""

    servers: tuple[Address, ...] = ()  # the nodes of a running cluster; empty if the run starts its own
    pairs: int = PAIRS
    in_flight: int | None = None  # IN_FLIGHT, if there is neither this nor a rate
    rate: float | None = None
    seconds: float = SECONDS
    dialect: Dialect = "json"
    acks: bool = False  # clients acknowledge messages themselves
    processes: int = PROCESSES
    ws: bool = False  # over WebSocket
    tls: bool = False
    ca: str | None = None  # a file with trusted certificates; None for the system's, or that of the run's own cluster

    def __post_init__(self) -> None:
        values = {
            "--pairs": self.pairs,
            "--in-flight": self.in_flight,
            "--rate": self.rate,
            "--seconds": self.seconds,
            "--processes": self.processes,
        }
        for option, value in values.items():
            if value is not None:
                check_range(option, value, _BOUNDS[option], "")
        if self.in_flight is not None and self.rate is not None:
            raise ConfigError("--in-flight and --rate exclude each other: as fast as it goes, or at a steady rate")
        if self.dialect not in ("json", "text"):
            raise ConfigError(f"--dialect must be json or text, not {self.dialect!r}")
        if self.acks and self.dialect != "json":
            raise ConfigError("--acks needs --dialect json: text clients can't acknowledge")
        if self.ws and self.dialect != "json":
            raise ConfigError("--ws needs --dialect json: there is no text over WebSocket")
        certificates.check(tls=self.tls, ca=self.ca, servers=bool(self.servers))

    @property
    def load(self) -> str:
        """The load in words."""
        return f"{self.rate:,.0f} messages/s in all" if self.rate else f"{self.in_flight or IN_FLIGHT} in flight"


class Target(Struct, frozen=True):
    """The cluster that is measured."""

    servers: tuple[Address, ...]
    ca: str | None = None  # see RunSettings


class Job(Struct, frozen=True):
    """One worker's share of a run."""

    settings: RunSettings
    target: Target
    tag: str  # the prefix of all names, so that two runs on one cluster don't collide
    pairs: tuple[int, ...]  # the numbers of its pairs in the whole run

    @property
    def rate(self) -> float | None:
        """This worker's share of the rate of the whole run."""
        return self.settings.rate * len(self.pairs) / self.settings.pairs if self.settings.rate else None

    def places(self, pair: int) -> tuple[Address, Address]:
        """Return the servers of the pair's sender and receiver, which differ if there are several."""
        servers = self.target.servers
        return servers[pair % len(servers)], servers[(pair + 1) % len(servers)]


def share_out(settings: RunSettings, target: Target, tag: str) -> list[Job]:
    """Return a job for each worker. No worker is without pairs."""
    count = min(settings.processes, settings.pairs)
    return [Job(settings, target, tag, tuple(range(first, settings.pairs, count))) for first in range(count)]
