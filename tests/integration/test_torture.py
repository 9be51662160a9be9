"""`relay torture` as its users run it, and the proof that it notices a safeguard that is missing."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.torture.checker import RULES
from relay.torture.plan import FAULTS
from tests.support.party import GRACE, LEASE, Party
from tests.support.process import Process, descendants, runs, wait_until
from tests.support.server import RedisServer

RELAY = [sys.executable, "-m", "relay", "torture"]
SABOTAGE = Path(__file__).parents[1] / "fixtures" / "sabotage.py"
MEMBERS = 4  # three nodes and the server
AFTER_SECONDS = 60.0  # for start, quiet and check, on a busy machine
SOON = 5.0  # seconds

Torture = Callable[..., Process]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs make their folders. (Python wants it for its own, too.)"""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def torture(tmp_path: Path, logs: Path) -> Iterator[Torture]:
    """Starts runs; `sabotage`: of nodes that lack this safeguard."""
    started: list[Process] = []

    def start(*words: str | float, sabotage: str = "") -> Process:
        command = [sys.executable, str(SABOTAGE), sabotage, "torture"] if sabotage else RELAY
        started.append(Process([*command, *map(str, words)], tmp_path / "torture.log"))
        return started[-1]

    yield start
    for run in started:
        print(run.text())
        run.kill()


def check_clean(text: str, seed: int) -> None:
    """What a clean run tells: the seed, how to repeat it, counts, and that nothing was broken."""
    first, *_, summary, counts, last = text.splitlines()
    assert re.match(rf"torture with seed {seed}; again: relay torture --seed {seed} .*--fault \S+$", first)
    assert re.match(rf"seed {seed}, \d+ s, \d+ sessions; faults: \d+ \S+", summary)
    found = re.fullmatch(
        r"(\d+) messages said, (\d+) delivered, unconfirmed: .*; "
        r"0 lost, 0 doubled, 0 reordered, 0 misdelivered, 0 unreported",
        counts,
    )
    assert found, counts
    assert int(found[1]) >= int(found[2]) > 1000
    assert last == "clean"


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.timeout(60 + 2 * AFTER_SECONDS)
def test_a_while_of_all_faults_breaks_no_promise(torture: Torture, logs: Path, seconds: int) -> None:
    run = torture("--seed", 3, "--seconds", seconds)
    status = run.wait(seconds + AFTER_SECONDS)
    assert status == 0, run.text()
    check_clean(run.text(), 3)
    assert f"--fault {','.join(FAULTS)}" in run.text()
    assert not list(logs.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(120 + 2 * AFTER_SECONDS)
def test_two_minutes_of_all_faults_break_no_promise(torture: Torture) -> None:
    run = torture("--seed", 4, "--seconds", 120)
    status = run.wait(120 + AFTER_SECONDS)
    assert status == 0, run.text()
    check_clean(run.text(), 4)


# --- ended from outside


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_it_takes_everything_with_it(torture: Torture, logs: Path, number: signal.Signals) -> None:
    run = torture("--seed", 5, "--seconds", 600)
    run.wait_for_line("users in", patience=AFTER_SECONDS)
    members = descendants(run.pid)
    assert len(members) >= MEMBERS - 2  # the nemesis may have killed one a moment ago, or the server
    os.kill(run.pid, number)
    assert run.wait(SOON) == (130 if number is signal.SIGINT else -signal.SIGKILL)
    wait_until(lambda: not any(map(runs, members)), "nodes and server are gone", SOON)
    assert "Traceback" not in run.text()
    if number is signal.SIGINT:
        assert not list(logs.iterdir())


# --- a cluster that runs already


def test_a_cluster_that_runs_already_is_left_whole_and_clean(
    torture: Torture, redis_server: RedisServer, tmp_path: Path
) -> None:
    party = Party(tmp_path, redis_server.url, size=2)
    try:
        servers = [word for node in party.nodes for word in ("--server", "{}:{}".format(*node.address))]
        run = torture(*servers, "--seconds", 5, "--lease", LEASE, "--grace", GRACE, "--seed", 6, "--json")
        status = run.wait(5 + AFTER_SECONDS)
        told = json.loads(run.text())
        assert (status, told["clean"], told["violations"], told["faults"]) == (0, True, {}, {})
        assert told["delivered"] > 100
        assert told["again"].startswith("relay torture --seed 6 --seconds 5 --server ")
        party.check_nothing_is_left({f"t6{number}" for number in range(40)})
    finally:
        party.stop()


# --- the proof

SEEDS = [pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 4, 5)]


def found(torture: Torture, sabotage: str, seed: int, seconds: int, faults: str) -> dict[str, Any]:
    """The violations of a run of nodes that lack this safeguard."""
    words = ("--seed", seed, "--seconds", seconds, "--fault", faults, "--json")
    run = torture(*words, sabotage=sabotage)
    status = run.wait(seconds + AFTER_SECONDS)
    told = json.loads(run.text())
    assert (status, told["clean"]) == (1, False)
    assert all(told[rule] == len(told["violations"].get(rule, [])) for rule in RULES)
    print(told["violations"])
    violations: dict[str, Any] = told["violations"]
    return violations


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_that_a_stale_owner_is_believed(torture: Torture, seed: int) -> None:
    violations = found(torture, "fence", seed, 14, "pause,partition")
    assert violations.keys() & {"two owners", "forgotten", "unfounded", "unreported"}


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_that_a_window_is_not_sent_again(torture: Torture, seed: int) -> None:
    violations = found(torture, "window", seed, 5, "none")
    assert "unreported" in violations


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_that_an_acknowledgement_came_too_early(torture: Torture, seed: int) -> None:
    violations = found(torture, "early-ack", seed, 20, "none")
    assert "lost" in violations


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_that_a_callee_took_two_calls(torture: Torture, seed: int) -> None:
    violations = found(torture, "no-reservation", seed, 20, "slow")
    assert "unasked" in violations


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_that_a_caller_did_not_wait_for_the_agreement(torture: Torture, seed: int) -> None:
    violations = found(torture, "no-agreement", seed, 2, "none")
    assert violations.keys() >= {"unreported", "lopsided"}


@pytest.mark.slow  # on a quiet machine a few seconds may not be enough for the nodes to fail
def test_a_failure_says_which_promise_and_keeps_the_logs(torture: Torture, logs: Path) -> None:
    run = torture("--seed", 1, "--seconds", 20, "--fault", "none", sabotage="window")
    assert run.wait(20 + AFTER_SECONDS) == 1
    *_, last = run.text().splitlines()
    assert re.search(r"^UNREPORTED: \d+\n    \S+ to \S+ has no outcome", run.text(), re.M)
    (folder,) = logs.iterdir()
    again = "relay torture --seed 1 --seconds 20 --nodes 3 --users 40 --fault none"
    assert last == f"not clean; the nodes' logs are in {folder}; again: {again}"
    names = {file.name for file in folder.iterdir()}
    assert names >= {"node0.log", "node1.log", "node2.log", "server.log", "faults.txt", "u0.txt"}
