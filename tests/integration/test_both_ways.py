"""Tests that both ways, the usual case and the general one, are the same history: each byte, at the same time."""

import pytest

from simulator.harness import stage
from simulator.harness.plan import ENGINES, Plan
from simulator.harness.run import run


def digest(plan: Plan, general: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a plan whose nodes all take one of the ways, and return the hash of its history."""
    monkeypatch.setattr(stage, "GENERAL", general)
    outcome = run(plan)
    assert outcome.clean, outcome.violations
    assert outcome.delivered
    return outcome.digest


@pytest.mark.parametrize("engine", ENGINES)
def test_both_ways_are_the_same_history(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(seed=7, seconds=3.0, engine=engine, users=6)
    assert digest(plan, 0.0, monkeypatch) == digest(plan, 1.0, monkeypatch)
