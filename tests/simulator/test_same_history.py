"""Tests that a seed is the whole history, whatever the addresses in memory are, and the hashes of strings."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.simulator import history

# The hash of seed 1 as the network sees it, and the number of its events: the same on every machine, with all releases
# of Python and anyio. Whoever changes on purpose what is drawn, when, or from which stream, changes them.
SEED_1 = "f0cb4bd86eedaf10034e70d9a2abc20b 530"
ROOT = Path(__file__).parents[2]


@cache
def seed_1() -> str:
    """Run seed 1 once in this process."""
    return history.run(1)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_seed_is_the_same_history_in_each_process(hash_seed: str) -> None:
    expected = seed_1()
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONMALLOC": "malloc"}
    ballast = f"ballast = [object() for _ in range({1000 * int(hash_seed)})]"  # moves addresses
    code = f"{ballast}; from tests.simulator import history; print(history.run(1))"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == expected.split()


def test_a_seed_is_the_same_history_everywhere() -> None:
    assert history.run(1, inside=False) == SEED_1


def test_another_seed_is_another_history() -> None:
    assert history.run(2) != history.run(3)
