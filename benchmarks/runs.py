"""The runs that make up the comparison. Their results are kept in the work folder, one system after the other."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from benchmarks import install
from benchmarks.measure import Failed, Figures, Load, measure
from benchmarks.systems import SYSTEMS, Running, System, running

RESULTS: Final = install.WORK / "results.json"

CLOSED: Final = {"one": Load(100, 1), "sixteen": Load(100, 16)}
STEADY: Final = Load(500, rate=5000)
IDLE: Final = Load(1500, seconds=0)  # 3,000 connections
RATES: Final = (500, 1000, 2000, 4000, 8000, 16_000, 32_000)
GROWTH: Final = (100, 500, 1000, 2500, 5000)
CURVES: Final = ("relay-json", "relay-acks", "socketio", "pysocketio", "nats", "jetstream", "redis")
GROWING: Final = ("relay-json", "socketio", "nats")
KEPT_UP: Final = 0.9  # the share of a rate that a system must carry; if it carries less, higher rates aren't tried


class Findings(Struct):
    """The results of one system."""

    date: str = ""
    load_average: str = ""  # load average of the machine, before and after
    complaint: str = ""  # the reason why some or all figures are missing
    single: dict[str, Figures] = field(default_factory=dict)  # the runs `one`, `sixteen`, `steady` and `idle`
    curve: list[Figures] = field(default_factory=list)
    growth: list[Figures] = field(default_factory=list)


class Sitting(Struct):
    """All results in the work folder."""

    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    quick: bool = False
    systems: dict[str, Findings] = field(default_factory=dict)


Tell = Callable[[str], None]


def load_sitting() -> Sitting:
    """Return the earlier results, which are empty if there are none."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Sitting) if RESULTS.exists() else Sitting()


def save(sitting: Sitting) -> None:
    """Write the results to the work folder."""
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(sitting)))


def study(system: System, tell: Tell, *, quick: bool) -> Findings:
    """Run everything for one system. Failures are part of the findings."""
    found = Findings(date=time.strftime("%Y-%m-%d %H:%M", time.gmtime()), load_average=load_average())
    try:
        _study(system, found, tell, quick=quick)
    except install.NotInstalled as error:
        found.complaint = f"not there: {error}"
        tell(f"{system.name}: {found.complaint}")
    found.load_average += f" to {load_average()}"
    return found


def _study(system: System, found: Findings, tell: Tell, *, quick: bool) -> None:
    share = 0.4 if quick else 1.0

    def run(target: Running, load: Load) -> Figures | None:
        load = msgspec.structs.replace(load, seconds=load.seconds * share)
        try:
            figures = measure(target, load)
        except Failed as error:
            found.complaint += f"{load.pairs} pairs, {load.rate or f'{load.in_flight} in flight'}: {error}. "
            tell(f"{system.name}: {error}")
            return None
        tell(f"{system.name}: {load.pairs} pairs, {load.rate or load.in_flight}: {figures.rate:,.0f}/s")
        return figures

    with running(system) as target:  # a fresh process, because its memory is measured
        if figures := run(target, IDLE):
            found.single["idle"] = figures
    with running(system) as target:
        for name, load in {"one": CLOSED["one"], "sixteen": CLOSED["sixteen"], "steady": STEADY}.items():
            if figures := run(target, load):
                found.single[name] = figures
    if system.name in CURVES:
        with running(system) as target:
            for rate in RATES[:: 2 if quick else 1]:
                figures = run(target, Load(200, rate=rate, seconds=2.0))
                if figures:
                    found.curve.append(figures)
                if not figures or figures.rate < rate * KEPT_UP:
                    break
    if system.name in GROWING:
        with running(system) as target:
            found.growth = [
                figures for pairs in GROWTH[:: 2 if quick else 1] if (figures := run(target, Load(pairs, rate=5000)))
            ]


def describe(sitting: Sitting) -> None:
    """Record the machine and the versions."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown CPU"
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    sitting.machine = f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"
    commit = _said("git", "-C", str(install.HERE), "rev-parse", "--short", "HEAD")
    sitting.versions = {"relay": f"commit {commit}", "Python": platform.python_version()}
    sitting.versions["Node"] = _said("node", "--version")
    sitting.versions["Valkey or Redis"] = _server_version()
    for pin in (*install.NPM, *install.PYPI):
        name, _, version = pin.replace("==", "@").rpartition("@")
        sitting.versions[name] = version
    sitting.versions["ejabberd"] = install.ejabberd_version()


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def load_average() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _server_version() -> str:
    from relay.process import embedded_redis

    return _said(str(embedded_redis.find_program()), "--version").partition(" sha")[0]


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "not there"


def study_all(names: list[str], tell: Tell, *, quick: bool) -> Sitting:
    """Study these systems, and add them to the earlier results."""
    sitting = load_sitting()
    sitting.quick = quick
    for name in names:
        sitting.systems[name] = study(SYSTEMS[name], tell, quick=quick)
        describe(sitting)  # after it, because the version of a peer from Debian is known once it is installed
        save(sitting)
    return sitting
