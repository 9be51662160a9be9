"""The settings of a run, and the faults that its seed has."""

import shlex

import pytest

from simulator.__main__ import main
from simulator.harness import faults
from simulator.harness.faults import kinds_of, rates
from simulator.harness.plan import ENGINES, Plan
from simulator.world import World


@pytest.mark.parametrize(
    "plan",
    [
        Plan(seed=7),
        Plan(seed=8, seconds=2.5, engine="cluster", nodes=2, users=5, only=("switch",), without=("kill", "pause")),
    ],
)
def test_a_plan_says_the_command_that_is_the_same_plan(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Plan] = []

    def note(plan: Plan, *, trace: bool, smaller: bool) -> int:
        seen.append(plan)
        return 0

    monkeypatch.setattr("simulator.__main__._one", note)
    python, dash, package, *words = shlex.split(plan.command)
    assert (python, dash, package) == ("python", "-m", "simulator")
    assert main(words) == 0
    assert seen == [plan]


def drawn(seed: int, engine: str, *without: str) -> dict[str, float]:
    world = World(seed)
    streams = {kind: world.stream(f"fault {kind}") for kind in kinds_of(engine)}
    return rates(streams, Plan(seed=seed, engine=engine, without=without))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_kind_of_fault_less_changes_nothing_of_the_others(engine: str) -> None:
    for seed in range(5):
        all_of_them = drawn(seed, engine)
        for kind in all_of_them:
            assert drawn(seed, engine, kind) == {other: all_of_them[other] for other in all_of_them if other != kind}


def test_a_new_kind_of_fault_changes_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [drawn(seed, "single") for seed in range(5)]
    monkeypatch.setattr(faults, "KINDS", ("new", *faults.KINDS))
    assert [
        {kind: every for kind, every in drawn(seed, "single").items() if kind != "new"} for seed in range(5)
    ] == before


def test_seeds_have_different_faults_and_together_all_of_them() -> None:
    of_seeds = [frozenset(drawn(seed, "single")) for seed in range(12)]
    assert len(set(of_seeds)) > 6
    assert frozenset().union(*of_seeds) == frozenset(kinds_of("single"))


def test_the_faults_that_are_asked_for_are_had_in_any_seed() -> None:
    for seed in range(5):
        world = World(seed)
        streams = {kind: world.stream(f"fault {kind}") for kind in kinds_of("single")}
        assert set(rates(streams, Plan(seed=seed, only=("kill", "pause", "evict"), without=("evict",)))) == {
            "kill",
            "pause",
        }
