"""The cost of TLS: nodes with and without it, in turns, under `relay bench`, because `load/` has no TLS."""

import statistics
import time
from collections.abc import Callable
from typing import Final

import anyio
import msgspec
from msgspec import Struct, field

from benchmarks import install, runs
from benchmarks.measure import Load
from benchmarks.systems import SYSTEMS, Running, running
from relay.configuration.config import StartError
from relay.tools.bench import coordinator
from relay.tools.bench.run_settings import RunSettings
from relay.tools.testbed.process import HOST

RESULTS: Final = install.WORK / "tls.json"
PLAIN: Final = SYSTEMS["relay-json"]
TLS: Final = msgspec.structs.replace(PLAIN, name="relay-tls", tls=True)
# The rate of the last load is so low that the clients' own TLS delays nothing, so the CPU of the nodes can be compared.
LOADS: Final = (Load(100, 1), Load(100, 16), Load(100, rate=2000))
ROUNDS: Final = 3  # short rounds in turns, so that other work of the machine affects both
SECONDS: Final = 3.0

Tell = Callable[[str], None]


class Figures(Struct):
    """The result of one run. The latency is in milliseconds."""

    rate: float
    p99: float
    cpu_us: float  # CPU of nodes and Redis for a message, warm-up included
    limited_by: str  # the limit that `relay bench` reports; empty if it was the cluster


class Turns(Struct):
    """Runs with the same load."""

    load: Load
    plain: list[Figures] = field(default_factory=list)
    tls: list[Figures] = field(default_factory=list)


class Secured(Struct):
    """All results."""

    date: str = ""
    load_average: str = ""
    complaint: str = ""  # the reason why some or all figures are missing
    turns: list[Turns] = field(default_factory=list)


def load() -> Secured:
    """Return the earlier results, which are empty if there are none."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Secured) if RESULTS.exists() else Secured()


def study(tell: Tell, *, quick: bool) -> None:
    """Measure everything, and keep the results."""
    found = Secured(time.strftime("%Y-%m-%d %H:%M", time.gmtime()), runs.load_average())
    seconds, rounds = (1.0, 1) if quick else (SECONDS, ROUNDS)
    try:
        with running(PLAIN) as plain, running(TLS) as tls:
            for one in LOADS:
                turn = Turns(one)
                found.turns.append(turn)
                for _ in range(rounds):
                    turn.plain.append(_measure(plain, one, seconds))
                    turn.tls.append(_measure(tls, one, seconds))
                without, with_it = middle(turn.plain).rate, middle(turn.tls).rate
                tell(f"tls: {describe(one)}: {without:,.0f}/s plain, {with_it:,.0f}/s with TLS")
    except (install.NotInstalled, StartError) as error:
        found.complaint = str(error)
        found.turns = [turn for turn in found.turns if turn.plain and turn.tls]
        tell(f"tls: {found.complaint}")
    found.load_average += f" to {runs.load_average()}"
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def describe(one: Load) -> str:
    """Return the load in words."""
    return f"{one.rate:,} messages/s" if one.rate else f"{one.in_flight} in flight"


def middle(figures: list[Figures]) -> Figures:
    """Return the medians, with any limit other than the cluster that one of the runs had."""
    return Figures(
        statistics.median(one.rate for one in figures),
        statistics.median(one.p99 for one in figures),
        statistics.median(one.cpu_us for one in figures),
        next((one.limited_by for one in figures if one.limited_by), ""),
    )


def _measure(target: Running, one: Load, seconds: float) -> Figures:
    """Run `relay bench` once. Raises StartError."""
    began: list[float] = []

    def heard(line: str) -> None:
        if line.startswith("all met"):  # all users are logged in
            began.append(sum(target.cpu()))

    ca = str(target.certificate) if target.certificate else None
    servers = tuple((HOST, port) for port in target.ports)
    in_flight, rate = (None, one.rate) if one.rate else (one.in_flight, None)
    settings = RunSettings(servers, one.pairs, in_flight, rate, seconds, tls=ca is not None, ca=ca)
    outcome = anyio.run(coordinator.run, settings, heard)
    used = sum(target.cpu()) - began[0]
    p99 = outcome.latencies.percentile(99) or 0
    return Figures(outcome.rate, p99 / 1e6, used / max(1, outcome.delivered) * 1e6, outcome.limited_by)
