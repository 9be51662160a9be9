"""The section of docs/benchmarks.md about WebSocket: medians, and the ratios beside their goals."""

import re
import statistics
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from benchmarks.systems import SYSTEMS
from benchmarks.web import TURNS, Web

_CORES: Final = re.compile(r"(\d+) cores")
_OURS: Final = "relay-ws"
_EMPTY: Final = "–"


class Goal(Struct, frozen=True):
    """What the relay over WebSocket has to be, by another system."""

    what: str
    run: str
    value: str
    peer: str
    bound: float | None  # no goal if it is None: the ratio is only shown
    least: bool = False  # the bound is the least that is good enough, and not the most

    @property
    def words(self) -> str:
        """Return the bound in words."""
        return f"at {'least' if self.least else 'most'} {self.bound:.3g}" if self.bound is not None else _EMPTY

    def met(self, ratio: float) -> bool:
        """Return whether the ratio is good enough."""
        return self.bound is None or (ratio >= self.bound if self.least else ratio <= self.bound)

    def verdict(self, ratios: list[float]) -> str:
        """Return whether the median reaches the goal, and in how many rounds it was reached if not in all or none."""
        if self.bound is None:
            return _EMPTY
        reached = "yes" if self.met(statistics.median(ratios)) else "**no**"
        rounds = sum(map(self.met, ratios))
        return reached if rounds in (0, len(ratios)) else f"{reached}, in {rounds} of {len(ratios)} rounds"


GOALS: Final = (
    Goal("messages/s, 1 in flight", "one", "rate", "socketio", 2, least=True),
    Goal("messages/s, 16 in flight", "sixteen", "rate", "socketio", 8, least=True),
    Goal("CPU a message, 1 in flight", "one", "cpu_us", "socketio", None),
    Goal("CPU a message, 16 in flight", "sixteen", "cpu_us", "socketio", None),
    Goal("CPU a message, 1 in flight", "one", "cpu_us", "relay-json", 1.3),
    Goal("CPU a message, 16 in flight", "sixteen", "cpu_us", "relay-json", 1.3),
    Goal("memory of an idle connection", "idle", "bytes_a_connection", "relay-json", 1.3),
    Goal("memory of an idle connection", "idle", "bytes_a_connection", "socketio", 1 / 3),
)


def section(web: Web, versions: dict[str, str]) -> Iterator[str]:
    """Yield the lines of the section. `versions` are those at the head of the page, which needn't be said again."""
    yield "## Over WebSocket, in turns: 100 pairs, and 3,000 idle connections\n"
    if not web.rounds:
        yield "Not measured: not run.\n"
        return
    yield (
        "`python -m benchmarks web` measures these systems in turns, each with fresh processes in each round, so that "
        "other work of the machine affects all of them. Frames of WebSocket are masked with a random key, as those of "
        "browsers are. ejabberd speaks XMPP over TCP. These are medians of "
        f"{len(web.rounds)} rounds. {web.date} UTC, load average {web.load_average}.\n"
    )
    if web.versions != versions:
        named = ", ".join(f"{name} {version}" for name, version in web.versions.items())
        yield f"Machine: {web.machine}. Versions: {named}.\n"
    before, cores = float(web.load_average.partition(" ")[0] or 0), _CORES.search(web.machine)
    if cores and before > int(cores[1]):
        yield (
            f"**The machine was shared**: its load average was {before:.0f} before a system was even started, over "
            f"{cores[0]}. Rates and latencies then say more about the other programs. Compare CPU and memory.\n"
        )
    for name, complaint in web.complaints.items():
        yield f"{SYSTEMS[name].title}, not measured in every round, because: {' '.join(complaint.split())}\n"
    yield from _medians(web)
    yield from _goals(web)


def _medians(web: Web) -> Iterator[str]:
    for_each = "messages/s | CPU a message | p99"
    yield f"| | 1 in flight: {for_each} | 16 in flight: {for_each} | idle: RSS |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for name in TURNS:
        cells = []
        for run in ("one", "sixteen"):
            cells.append(_cell(_values(web, name, run, "rate"), "{:,.0f}"))
            cells.append(_cell(_values(web, name, run, "cpu_us"), "{:.1f} µs"))
            cells.append(_cell(_values(web, name, run, "p99"), "{:.2f} ms"))
        memory = [value / 1024 for value in _values(web, name, "idle", "bytes_a_connection")]
        yield f"| {SYSTEMS[name].title} | {' | '.join(cells)} | {_cell(memory, '{:.1f} KiB')} |"
    yield ""


def _goals(web: Web) -> Iterator[str]:
    yield f"{SYSTEMS[_OURS].title}, by others: the median of the rounds' ratios, and their range.\n"
    yield "| | by | ratio | goal | reached |\n| --- | --- | --: | --- | --- |"
    for goal in GOALS:
        if ratios := _ratios(web, goal):
            ratio = statistics.median(ratios)
            shown = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            reached = goal.verdict(ratios)
        else:
            shown, reached = _EMPTY, "not measured"
        yield f"| {goal.what} | {SYSTEMS[goal.peer].title} | {shown} | {goal.words} | {reached} |"
    yield ""


def _ratios(web: Web, goal: Goal) -> list[float]:
    """Return the ratio of each round in which both were measured."""
    pairs = [(turns.get(_OURS, {}).get(goal.run), turns.get(goal.peer, {}).get(goal.run)) for turns in web.rounds]
    return [getattr(ours, goal.value) / getattr(theirs, goal.value) for ours, theirs in pairs if ours and theirs]


def _values(web: Web, name: str, run: str, value: str) -> list[float]:
    return [getattr(turns[name][run], value) for turns in web.rounds if run in turns.get(name, {})]


def _cell(values: list[float], shape: str) -> str:
    return shape.format(statistics.median(values)) if values else _EMPTY
