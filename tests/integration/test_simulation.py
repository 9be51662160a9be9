"""Whole runs, from a seed to its outcome. They take some seconds each, so that they are few and short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.harness.plan import ENGINES, Plan
from simulator.harness.run import run

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)  # they do nothing but work, and a machine may have other things to do


@pytest.mark.parametrize("engine", ENGINES)
def test_a_seed_is_clean(engine: str) -> None:
    outcome = run(Plan(seed=1, engine=engine, seconds=3.0, users=4))
    assert outcome.violations == {}
    assert outcome.delivered > 0


# tests/simulator holds it for the parts of all engines.
@pytest.mark.parametrize(
    "engine", [pytest.param(engine, marks=[pytest.mark.slow] * (engine != "single")) for engine in ENGINES]
)
def test_the_same_seed_is_the_same_history_whatever_the_hash_of_strings_is(engine: str) -> None:
    """In processes of their own: the addresses of objects differ as well."""
    words = ["--seed", "3", "--seconds", "2", "--nodes", "2", "--users", "4", "--engine", engine]
    said = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "simulator", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.add(done.stdout.splitlines()[-1].rpartition(" ")[2])
    assert len(said) == 1
    assert len(said.pop()) == 32


def test_the_simulator_finds_nodes_without_a_safeguard() -> None:
    """A caller is paired without the callee's consent: nearly each seed finds that.

    It runs in a process of its own, which it sabotages for good.
    """
    program = """
import sys
from tests.fixtures import sabotage
sabotage.SABOTAGE["no-agreement"]()
from simulator.__main__ import main
for seed in range(1, 6):
    if main(["--seed", str(seed), "--only", "stall", "--seconds", "4", "--users", "8", "--calm", "1"]):
        sys.exit(1)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "UNREPORTED: " in done.stdout
    assert "LOPSIDED: " in done.stdout
    assert "--only stall" in done.stdout
