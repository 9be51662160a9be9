"""What the simulator finds: each removed safeguard, and each fault that was mended and is there again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.proof import DEEDS, OPEN, PLANS, find

ROOT = Path(__file__).parents[2]


def test_each_sabotage_still_finds_what_it_takes_away() -> None:
    """What it patches may have another name now. They are played in a process of its own, which they change.

    `fence` is two of the others together.
    """
    program = "from tests.simulator.proof import DEEDS\nfor name in DEEDS.keys() - {'fence'}:\n    DEEDS[name]()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_each_sabotage_has_its_plan() -> None:
    assert set(PLANS) == set(DEEDS)
    assert set(PLANS) >= OPEN


@pytest.mark.slow
@pytest.mark.timeout(3600)  # of a machine that may have other things to do
@pytest.mark.parametrize("name", sorted(PLANS.keys() - OPEN))
def test_each_sabotage_is_found_in_two_minutes_of_a_core(name: str) -> None:
    assert find(name) is not None
