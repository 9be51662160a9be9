"""The relay over WebSocket beside socket.io, python-socketio, its own TCP and ejabberd, in turns."""

import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct, field

from benchmarks import install, runs
from benchmarks.measure import Failed, Figures, Load, measure
from benchmarks.systems import SYSTEMS, running

RESULTS: Final = install.WORK / "web.json"
TURNS: Final = ("relay-ws", "relay-json", "socketio", "pysocketio", "ejabberd")
LOADS: Final = {"idle": runs.IDLE, **runs.CLOSED}
ROUNDS: Final = 5  # systems that are measured minutes apart differ for no reason of their own

Tell = Callable[[str], None]
Turn = dict[str, Figures]  # by the name of the load


class Web(Struct):
    """All results."""

    date: str = ""
    load_average: str = ""
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    complaints: dict[str, str] = field(default_factory=dict)  # by system: why some or all figures are missing
    rounds: list[dict[str, Turn]] = field(default_factory=list)  # by system


def load() -> Web:
    """Return the earlier results, which are empty if there are none."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Web) if RESULTS.exists() else Web()


def study(tell: Tell, *, quick: bool) -> None:
    """Measure everything, and keep the results."""
    sitting, before = runs.Sitting(), runs.load_average()
    runs.describe(sitting)
    date = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    found = Web(date, machine=sitting.machine, versions=sitting.versions)
    for _ in range(1 if quick else ROUNDS):
        turns: dict[str, Turn] = {}
        found.rounds.append(turns)
        for name in TURNS:
            turns[name] = {}
            try:
                _take_turn(name, turns[name], tell, share=0.4 if quick else 1.0)
            except (install.NotInstalled, Failed) as error:
                found.complaints[name] = str(error)
                tell(f"{name}: {error}")
        found.versions["ejabberd"] = install.ejabberd_version()  # unknown before the first round
        found.load_average = f"{before} to {runs.load_average()}"
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)))  # also if a later round is interrupted


def _take_turn(name: str, turn: Turn, tell: Tell, *, share: float) -> None:
    """Measure the system once. Raises NotInstalled and Failed."""
    with running(SYSTEMS[name]) as target:  # a fresh process, because its memory is measured
        turn["idle"] = measure(target, LOADS["idle"])
    with running(SYSTEMS[name]) as target:
        for key, one in runs.CLOSED.items():
            turn[key] = measure(target, _shortened(one, share))
    figures = ", ".join(f"{turn[key].rate:,.0f}/s {turn[key].cpu_us:.1f} µs" for key in runs.CLOSED)
    tell(f"{name}, in turns: {turn['idle'].bytes_a_connection / 1024:.1f} KiB, {figures}")


def _shortened(one: Load, share: float) -> Load:
    return msgspec.structs.replace(one, seconds=one.seconds * share)
