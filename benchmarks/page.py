"""Writes docs/benchmarks.md and its plots from the results."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import webpage
from benchmarks.charts import Points, chart
from benchmarks.measure import Figures
from benchmarks.runs import CURVES, Findings, Sitting
from benchmarks.systems import SYSTEMS
from benchmarks.tls import Figures as TlsFigures
from benchmarks.tls import Secured, describe, middle
from benchmarks.web import Web

DOCS: Final = Path(__file__).parents[1] / "docs"
PLOTS: Final = DOCS / "benchmarks"
_EMPTY: Final = "–"

_CORES: Final = re.compile(r"(\d+) cores")
_COMPARED: Final = (
    ("relay-json", "socketio"),
    ("relay-json", "pysocketio"),
    ("relay-json", "nats"),
    ("relay-json", "ejabberd"),
    ("relay-ws", "socketio"),
    ("relay-ws", "pysocketio"),
    ("relay-ws", "relay-json"),
    ("relay-acks", "jetstream"),
    ("relay-acks", "relay-json"),
    ("relay-text", "relay-json"),
    ("relay-same", "relay-json"),
)

_HEAD: Final = """# Benchmarks

This page compares the relay with its usual alternatives. `make benchmarks` (`python -m benchmarks`) writes it, and all
figures are from that run. `relay bench` measures your own cluster.

**Compare ratios, not figures.** The load generator, the nodes and the server share one machine, on the loopback
interface. The systems are measured one after the other, so the machine may be busier for one than for another. The load
average (1 minute, over {cores}) is beside each. CPU a message is steadier than a rate, and latency suffers most.

- Machine: {machine}.
- Versions: {versions}.
- Each system has two nodes, with partners on different nodes. "Same node" means that both partners are on one of the
  two nodes, with as many pairs on each. Texts have 60 bytes. All runs but TLS use one load generator
  (`benchmarks/load`, one process; the last table has its CPU).
- A message counts when the partner's socket has received it. With "n in flight" a user sends the next message when the
  partner has one.
- CPU is the user and system time of both nodes and Redis together, from `/proc`, divided by the delivered messages,
  after a warm-up.
"""


def write(sitting: Sitting, web: Web, secured: Secured) -> None:
    """Write the page and its plots."""
    PLOTS.mkdir(exist_ok=True)
    for name, svg in _plots(sitting):
        (PLOTS / f"{name}.svg").write_text(svg)
    (DOCS / "benchmarks.md").write_text("\n".join(_page(sitting, web, secured)) + "\n")


def _page(sitting: Sitting, web: Web, secured: Secured) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sitting.versions.items())
    cores = sitting.machine.partition(", ")[2].partition(",")[0]
    yield _HEAD.format(machine=sitting.machine, versions=versions, cores=cores)
    if sitting.quick:
        yield "This was a `--quick` run: each measurement took less than half of the usual time.\n"
    yield from _company(sitting)
    yield from _configurations(sitting)
    yield from _ratios(sitting)
    yield from _speed(sitting)
    yield from webpage.section(web, sitting.versions)
    yield from _steady(sitting)
    yield from _idle(sitting)
    yield from _curves(sitting)
    yield from _growth(sitting)
    yield from _secured(secured)
    yield from _generator(sitting)


def _company(sitting: Sitting) -> Iterator[str]:
    """Yield a warning if other programs used the machine: more work than it has cores, before a system was started."""
    before = [float(one.load_average.split()[0]) for one in sitting.systems.values() if one.load_average]
    cores = int(found[1]) if (found := _CORES.search(sitting.machine)) else 1
    if max(before, default=0) > cores:
        yield (
            f"**The machine was shared.** Other programs kept its {cores} cores busy (load average up to "
            f"{max(before):.0f} before a system was even started). Rates and latencies are far from the systems' "
            "limits, and differ between systems for that reason too. CPU a message is the figure to compare.\n"
        )


def _ratios(sitting: Sitting) -> Iterator[str]:
    yield "## The relay by its peers\n"
    yield "These are ratios of the tables below. The relay is better above 1 in messages/s, below 1 in CPU and p99.\n"
    yield "| | 1 in flight: messages/s | CPU | 16 in flight: messages/s | CPU | steady: p99 | CPU | idle: RSS |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for ours, theirs in _COMPARED:
        if ours in sitting.systems and theirs in sitting.systems:
            a, b = sitting.systems[ours].single, sitting.systems[theirs].single
            cells = [
                _ratio(a.get(run), b.get(run), value)
                for run, value in (
                    ("one", "rate"),
                    ("one", "cpu_us"),
                    ("sixteen", "rate"),
                    ("sixteen", "cpu_us"),
                    ("steady", "p99"),
                    ("steady", "cpu_us"),
                    ("idle", "bytes_a_connection"),
                )
            ]
            yield f"| {SYSTEMS[ours].title} / {SYSTEMS[theirs].title} | {' | '.join(cells)} |"
    yield ""


def _ratio(ours: Figures | TlsFigures | None, theirs: Figures | TlsFigures | None, value: str) -> str:
    if ours is None or theirs is None or not getattr(theirs, value):
        return _EMPTY
    return f"{getattr(ours, value) / getattr(theirs, value):.2f}"


def _titles(sitting: Sitting) -> Iterator[tuple[str, Findings]]:
    for name, system in SYSTEMS.items():
        if name in sitting.systems:
            yield system.title, sitting.systems[name]


def _configurations(sitting: Sitting) -> Iterator[str]:
    yield "## What was compared\n"
    yield "| system | configuration | date (UTC), load average | |\n| --- | --- | --- | --- |"
    for name, system in SYSTEMS.items():
        found = sitting.systems.get(name)
        if found is None:
            yield f"| {system.title} | {system.configuration} | | not run |"
        else:
            when = f"{found.date}, {found.load_average}"
            complaint = " ".join(found.complaint.replace("|", "/").split())
            yield f"| {system.title} | {system.configuration} | {when} | {complaint} |"
    yield ""


def _speed(sitting: Sitting) -> Iterator[str]:
    yield "## As fast as it goes: 100 pairs\n"
    yield "| | 1 in flight: messages/s | CPU a message | p50 | p99 | 16 in flight: messages/s | CPU a message | p99 |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for title, found in _titles(sitting):
        one, sixteen = found.single.get("one"), found.single.get("sixteen")
        cells = [_rate(one), _cpu(one), _ms(one, "p50"), _ms(one, "p99"), _rate(sixteen), _cpu(sixteen)]
        yield f"| {title} | {' | '.join([*cells, _ms(sixteen, 'p99')])} |"
    yield ""


def _steady(sitting: Sitting) -> Iterator[str]:
    yield "## Steady: 5,000 messages/s over 500 pairs\n"
    yield "| | messages/s | CPU a message | of that Redis | p50 | p99 | p99.9 | lost |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for title, found in _titles(sitting):
        one = found.single.get("steady")
        times = [_ms(one, name) for name in ("p50", "p99", "p999")]
        redis = f"{one.redis_us:.1f} µs" if one else _EMPTY
        yield f"| {title} | {' | '.join([_rate(one), _cpu(one), redis, *times, str(one.lost) if one else _EMPTY])} |"
    yield '\n"Lost" counts the messages that had not arrived a second after the load ended.\n'


def _idle(sitting: Sitting) -> Iterator[str]:
    yield "## Idle: 3,000 connections on two nodes\n"
    yield "| | RSS of the nodes a connection | users a second that connect, log in and meet |\n| --- | --: | --: |"
    for title, found in _titles(sitting):
        if idle := found.single.get("idle"):
            yield f"| {title} | {idle.bytes_a_connection / 1024:.1f} KiB | {idle.users_a_second:,.0f} |"
    yield (
        "\nNodes were fresh, so the figures include the memory that a process takes once (buffers, code). 200 users "
        "connect and log in at a time, so that no system's queue in the kernel overflows. NATS and Redis have no "
        "pairs.\n"
    )


def _curves(sitting: Sitting) -> Iterator[str]:
    yield "## Latency and cost against load: 200 pairs\n"
    yield "![p99 latency against load](benchmarks/latency.svg)\n"
    yield "![CPU a message against load](benchmarks/cpu.svg)\n"
    yield "A line ends at the rate of which a system carried less than nine tenths.\n"
    yield "![Redis commands a message against load](benchmarks/commands.svg)\n"
    yield "![CPU of Redis a message against load](benchmarks/redis-cpu.svg)\n"
    yield "All peer messages of one iteration for one node are one PUBLISH, so a higher load needs fewer commands a"
    yield "message.\n"
    yield "| messages/s | relay: commands a message | relay: Redis CPU a message | plain PUBLISH: Redis CPU a message |"
    yield "| --: | --: | --: | --: |"
    relay, plain = (_by_rate(sitting, name) for name in ("relay-json", "redis"))
    for rate, figures in relay.items():
        beside = f"{plain[rate].redis_us:.1f} µs" if rate in plain else _EMPTY
        yield f"| {rate:,} | {figures.commands:.2f} | {figures.redis_us:.1f} µs | {beside} |"
    for key, label in (("one", "100 pairs, 1 in flight"), ("sixteen", "100 pairs, 16 in flight")):
        ours = sitting.systems.get("relay-json", Findings()).single.get(key)
        theirs = sitting.systems.get("redis", Findings()).single.get(key)
        if ours and theirs:
            yield f"| {label} | {ours.commands:.3f} | {ours.redis_us:.2f} µs | {theirs.redis_us:.2f} µs |"
    yield ""


def _by_rate(sitting: Sitting, name: str) -> dict[int, Figures]:
    return {figures.load.rate: figures for figures in sitting.systems.get(name, Findings()).curve}


def _growth(sitting: Sitting) -> Iterator[str]:
    yield "## Growth: 5,000 messages/s over more and more pairs\n"
    yield "![CPU a message against pairs](benchmarks/growth.svg)\n"
    yield "| | pairs | messages/s | CPU a message | p99 | Redis commands a message |"
    yield "| --- | --: | --: | --: | --: | --: |"
    for title, found in _titles(sitting):
        for one in found.growth:
            commands = f"{one.commands:.2f}" if one.commands > 0.001 else _EMPTY
            yield f"| {title} | {one.load.pairs:,} | {_rate(one)} | {_cpu(one)} | {_ms(one, 'p99')} | {commands} |"
    yield ""


def _secured(secured: Secured) -> Iterator[str]:
    yield "## With TLS: 100 pairs\n"
    if secured.complaint or not secured.turns:
        yield f"{'Not all' if secured.turns else 'Not'} measured: {secured.complaint or 'not run'}.\n"
    if not secured.turns:
        return
    yield (
        "The load generator of the other tables has no TLS, so these figures are from `relay bench`, which costs more "
        "itself. Compare them with each other only. Clients pay for TLS too, here on the nodes' cores. If the limit "
        "was not the cluster, the nodes can do more, and the steady rate shows the cost of a message. Two nodes "
        "without and two with a certificate were measured in turns, and these are medians of "
        f"{len(secured.turns[0].tls)}. {secured.date} UTC, load average {secured.load_average}.\n"
    )
    yield "| | messages/s | p99 | CPU a message | `relay bench` says |\n| --- | --: | --: | --: | --- |"
    for turn in secured.turns:
        plain, tls = middle(turn.plain), middle(turn.tls)
        for title, one in (("plain", plain), ("TLS", tls)):
            limit = one.limited_by.partition(":")[0] or "no other limit than the cluster"
            cells = [f"{one.rate:,.0f}", f"{one.p99:.2f} ms", f"{one.cpu_us:.1f} µs", limit]
            yield f"| {describe(turn.load)}, {title} | {' | '.join(cells)} |"
        ratios = [_ratio(tls, plain, value) for value in ("rate", "p99", "cpu_us")]
        yield f"| {describe(turn.load)}, TLS / plain | {' | '.join(ratios)} | |"
    yield ""


def _generator(sitting: Sitting) -> Iterator[str]:
    yield "## What the generator used\n"
    yield "These are shares of one core. Near 100 % the generator would have been the limit.\n"
    yield "| | 1 in flight | 16 in flight | steady |\n| --- | --: | --: | --: |"
    for title, found in _titles(sitting):
        shown = [found.single.get(name) for name in ("one", "sixteen", "steady")]
        yield f"| {title} | {' | '.join(f'{one.generator_busy:.0%}' if one else _EMPTY for one in shown)} |"


def _rate(figures: Figures | None) -> str:
    return f"{figures.rate:,.0f}" if figures else _EMPTY


def _cpu(figures: Figures | None) -> str:
    return f"{figures.cpu_us:.1f} µs" if figures else _EMPTY


def _ms(figures: Figures | None, name: str) -> str:
    return f"{getattr(figures, name):.2f} ms" if figures else _EMPTY


def _plots(sitting: Sitting) -> Iterator[tuple[str, str]]:
    def lines(value: Callable[[Figures], float]) -> dict[str, Points]:
        return {
            SYSTEMS[name].title: [(figures.load.rate, value(figures)) for figures in sitting.systems[name].curve]
            for name in CURVES
            if name in sitting.systems
        }

    rate = "messages a second, of all 200 pairs"
    yield "latency", chart("Latency against load", rate, "p99 in ms", lines(lambda one: one.p99))
    yield "cpu", chart("CPU a message against load", rate, "µs, nodes and Redis", lines(lambda one: one.cpu_us))
    yield "redis-cpu", chart("CPU of Redis a message", rate, "µs", lines(lambda one: one.redis_us))
    yield "commands", chart("Redis commands a message", rate, "commands", lines(lambda one: max(0, one.commands)))
    grown = {
        title: [(one.load.pairs, one.cpu_us) for one in found.growth]
        for title, found in _titles(sitting)
        if found.growth
    }
    yield "growth", chart("CPU a message at 5,000 messages/s", "pairs", "µs, nodes and Redis", grown)
