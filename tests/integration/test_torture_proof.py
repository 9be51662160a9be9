"""The proof that `relay torture` notices a missing safeguard, by nodes that lack it (fixtures/sabotage.py).

A node without a safeguard fails only at an unlucky moment, which a run of seconds doesn't always have. More than half
of the runs find it, so several runs find it almost surely.
"""

import json
import re
from pathlib import Path

import pytest

from relay.tools.torture.checker import RULES
from tests.integration.conftest import Torture

AFTER_SECONDS = 60.0  # seconds for start, quiet and check, on a busy machine
RUNS = 6

# The missing safeguard, the faults that show it soonest, seconds, and the rules of which one must be broken.
MISSING = [
    pytest.param(
        *("fence", "pause,partition", 14, {"two owners", "forgotten", "unfounded", "unreported", "lopsided"}),
        marks=pytest.mark.slow,
    ),
    # `test_a_failure_says_which_promise_and_keeps_the_logs` has the same run.
    pytest.param("window", "pubsub", 6, {"unreported"}, marks=pytest.mark.slow),
    ("early-ack", "kill", 8, {"lost"}),
    pytest.param(
        *("no-reservation", "slow", 10, {"unasked", "unreported", "unfounded", "lopsided"}), marks=pytest.mark.slow
    ),
    pytest.param("no-agreement", "none", 4, {"lopsided"}, marks=pytest.mark.slow),
    pytest.param("loyal", "switch", 4, {"dead"}, marks=pytest.mark.slow),
    pytest.param("believing", "isolate", 4, {"dead"}, marks=pytest.mark.slow),  # it needs a cluster of six servers
]


@pytest.mark.parametrize(("sabotage", "faults", "seconds", "rules"), MISSING)
@pytest.mark.timeout(RUNS * 2 * AFTER_SECONDS)
def test_torture_finds_that_a_safeguard_was_taken_out(
    torture: Torture, sabotage: str, faults: str, seconds: int, rules: set[str]
) -> None:
    assert any(rules & found(torture, sabotage, seed, seconds, faults) for seed in range(1, RUNS + 1))


def found(torture: Torture, sabotage: str, seed: int, seconds: int, faults: str) -> set[str]:
    """Return the rules that a run of nodes without this safeguard breaks."""
    engine = "cluster" if faults == "isolate" else "standalone"
    words = ("--seed", seed, "--seconds", seconds, "--engine", engine, "--fault", faults, "--json")
    run = torture(*words, sabotage=sabotage)
    status = run.wait(seconds + AFTER_SECONDS)
    told = json.loads(run.text())
    assert (status, told["clean"]) in ((1, False), (0, True))
    assert all(told[rule] == len(told["violations"].get(rule, [])) for rule in RULES)
    return set(told["violations"])


@pytest.mark.timeout(RUNS * 2 * AFTER_SECONDS)
def test_a_failure_says_which_promise_and_keeps_the_logs(torture: Torture, logs: Path) -> None:
    for seed in range(1, RUNS + 1):  # until a run breaks one of the rules
        run = torture("--seed", seed, "--seconds", 6, "--fault", "pubsub", sabotage="window")
        if run.wait(6 + AFTER_SECONDS) == 1 and "UNREPORTED" in run.text():
            break
    *_, last = run.text().splitlines()
    assert re.search(r"^UNREPORTED: \d+\n    \S+ to \S+ has no outcome", run.text(), re.M)
    folder = next(folder for folder in logs.iterdir() if str(folder) in last)
    again = f"relay torture --seed {seed} --seconds 6 --nodes 3 --users 40 --fault pubsub"
    assert last == f"not clean; the nodes' logs are in {folder}; again: {again}"
    names = {file.name for file in folder.iterdir()}
    assert names >= {"node0.log", "node1.log", "node2.log", "server.log", "faults.txt", "u0.txt"}
