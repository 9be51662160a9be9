"""The section about WebSocket: medians of the rounds, ratios within a round, and goals that are met or not."""

import pytest

from benchmarks.measure import Figures, Load
from benchmarks.web import Turn, Web
from benchmarks.webpage import GOALS, section


def turn(rate: float, cpu_us: float, kib: float) -> Turn:
    idle = Figures(Load(1500, seconds=0), 1000, kib * 1024)
    one, sixteen = (Figures(Load(100, many), 1000, 0, rate * many, p99=2, cpu_us=cpu_us) for many in (1, 16))
    return {"idle": idle, "one": one, "sixteen": sixteen}


# The machine was three times as fast in the last round, for all systems.
ROUNDS = [
    {
        "relay-ws": turn(2500 * speed, 12 / speed, 6),
        "relay-json": turn(3000 * speed, 10 / speed, 5),
        "socketio": turn(1000 * speed, 40 / speed, 15),
    }
    for speed in (1, 1, 3)
]


def lines(web: Web, versions: dict[str, str] | None = None) -> list[str]:
    return "\n".join(section(web, versions or {})).splitlines()


def test_each_system_has_the_medians_of_its_rounds() -> None:
    row = "| relay, WebSocket, acks by nodes | 2,500 | 12.0 µs | 2.00 ms | 40,000 | 12.0 µs | 2.00 ms | 6.0 KiB |"
    assert row in lines(Web(rounds=ROUNDS))


def test_a_ratio_is_of_two_figures_of_one_round() -> None:
    (row,) = [line for line in lines(Web(rounds=ROUNDS)) if line.startswith("| messages/s, 1 in flight")]
    assert row == "| messages/s, 1 in flight | socket.io + Redis adapter | 2.50 (2.50 to 2.50) | at least 2 | yes |"


def test_a_goal_that_is_missed_says_so() -> None:
    shown = lines(Web(rounds=ROUNDS))
    by_socketio = "socket.io + Redis adapter"
    assert f"| messages/s, 16 in flight | {by_socketio} | 2.50 (2.50 to 2.50) | at least 8 | **no** |" in shown
    assert f"| memory of an idle connection | {by_socketio} | 0.40 (0.40 to 0.40) | at most 0.333 | **no** |" in shown


@pytest.mark.parametrize(("ratio", "at_least", "at_most"), [(1.9, False, True), (2.0, True, True), (2.1, True, False)])
def test_a_bound_itself_is_good_enough(ratio: float, at_least: bool, at_most: bool) -> None:
    least = GOALS[0]
    assert (least.least, least.bound, least.met(ratio)) == (True, 2, at_least)
    most = type(least)("", "one", "cpu_us", "socketio", 2)
    assert most.met(ratio) == at_most


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([2, 3, 9], "yes"),
        ([1, 3, 9], "yes, in 2 of 3 rounds"),
        ([1, 1, 9], "**no**, in 1 of 3 rounds"),
        ([1], "**no**"),
    ],
)
def test_rounds_that_do_not_agree_with_the_median_are_counted(ratios: list[float], verdict: str) -> None:
    assert GOALS[0].verdict(ratios) == verdict


def test_a_ratio_without_a_goal_is_only_shown() -> None:
    assert "| CPU a message, 1 in flight | socket.io + Redis adapter | 0.30 (0.30 to 0.30) | – | – |" in lines(
        Web(rounds=ROUNDS)
    )


def test_a_system_that_could_not_be_measured_says_why() -> None:
    web = Web(rounds=ROUNDS, complaints={"ejabberd": "apt-get: no\nsuch file"})
    shown = lines(web)
    assert "ejabberd + Redis, not measured in every round, because: apt-get: no such file" in shown
    assert "| ejabberd + Redis | – | – | – | – | – | – | – |" in shown


def test_a_goal_without_its_peer_is_neither_reached_nor_missed() -> None:
    alone = [{"relay-ws": turns["relay-ws"]} for turns in ROUNDS]
    rows = [line for line in lines(Web(rounds=alone)) if line.endswith("| not measured |")]
    assert len(rows) == len(GOALS)


def test_versions_stand_there_if_they_are_not_those_of_the_page() -> None:
    web = Web(rounds=ROUNDS, machine="Some CPU, 2 cores", versions={"relay": "commit 1"})
    assert "Machine: Some CPU, 2 cores. Versions: relay commit 1." in lines(web, {"relay": "commit 0"})
    assert not [line for line in lines(web, {"relay": "commit 1"}) if line.startswith("Machine")]


@pytest.mark.parametrize(("before", "shared"), [("1.9", False), ("7.4", True)])
def test_a_machine_that_was_shared_is_named_as_such(before: str, shared: bool) -> None:
    web = Web(load_average=f"{before} to 0.5", rounds=ROUNDS, machine="Some CPU, 2 cores, 8 GiB")
    said = [line for line in lines(web) if "machine was shared" in line]
    assert bool(said) == shared
    assert not said or "load average was 7 before a system was even started, over 2 cores" in said[0]


def test_nothing_measured_is_reported() -> None:
    assert "Not measured: not run." in lines(Web())
