"""What one run is to do. A value that can't work raises ConfigError."""

import os
from typing import Final, Literal

from msgspec import Struct

from relay.config import ConfigError, check_range
from relay.tools.testbed import certificates

Dialect = Literal["json", "text"]
Address = tuple[str, int]

IN_FLIGHT: Final = 1  # what a person does who waits for an answer
PAIRS: Final = 100
SECONDS: Final = 10.0
# Half of the cores, as cluster and workers often share a machine; more than four are rarely needed to load one.
PROCESSES: Final = max(1, min(4, (os.cpu_count() or 1) // 2))

# No more than a node's default window: beyond it a node stops reading, and latency would measure that.
MAX_IN_FLIGHT: Final = 256
_BOUNDS: Final = {
    "--pairs": (1, 30_000),  # two connections each; more need more addresses than one machine has ports
    "--in-flight": (1, MAX_IN_FLIGHT),
    "--rate": (1, 10_000_000),
    "--seconds": (1, 24 * 3600),
    "--processes": (1, 64),
}


class Plan(Struct, frozen=True):
    """The settings of one run. Load is either `in_flight` for each pair, or `rate` messages a second in all."""

    servers: tuple[Address, ...] = ()  # of a cluster that runs already; empty: one of our own
    pairs: int = PAIRS
    in_flight: int | None = None  # neither this nor a rate: IN_FLIGHT
    rate: float | None = None
    seconds: float = SECONDS
    dialect: Dialect = "json"
    acks: bool = False  # clients acknowledge themselves
    processes: int = PROCESSES
    tls: bool = False
    ca: str | None = None  # certificates to trust, a file; None: the system's, or that of a cluster of our own

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
        certificates.check(tls=self.tls, ca=self.ca, servers=bool(self.servers))

    @property
    def load(self) -> str:
        """The load in words."""
        return f"{self.rate:,.0f} messages/s in all" if self.rate else f"{self.in_flight or IN_FLIGHT} in flight"


class Target(Struct, frozen=True):
    """The cluster that is measured."""

    servers: tuple[Address, ...]
    ca: str | None = None  # see Plan


class Job(Struct, frozen=True):
    """One worker's share of a run."""

    plan: Plan
    target: Target
    tag: str  # starts all names, so that two runs on one cluster don't meet
    pairs: tuple[int, ...]  # their numbers in the whole run

    @property
    def rate(self) -> float | None:
        """This worker's part of the plan's rate."""
        return self.plan.rate * len(self.pairs) / self.plan.pairs if self.plan.rate else None

    def places(self, pair: int) -> tuple[Address, Address]:
        """The servers of its sender and its receiver: different ones where there are several."""
        servers = self.target.servers
        return servers[pair % len(servers)], servers[(pair + 1) % len(servers)]


def share_out(plan: Plan, target: Target, tag: str) -> list[Job]:
    """A job for each worker; none without pairs."""
    count = min(plan.processes, plan.pairs)
    return [Job(plan, target, tag, tuple(range(first, plan.pairs, count))) for first in range(count)]
