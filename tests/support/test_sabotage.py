"""Tests that each safeguard that the proof of `relay torture` disables exists under the name that the proof uses."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import sabotage

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sabotage.SABOTAGE)
def test_each_finds_what_it_takes_out(name: str) -> None:
    """Apply each sabotage in its own process, because it changes that process."""
    program = f"from tests.fixtures import sabotage; sabotage.SABOTAGE[{name!r}](); sabotage.launch_sabotaged({name!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_gone_is_noticed() -> None:
    with pytest.raises(AttributeError):
        sabotage.patch(sabotage, "long_gone", None)
    assert not hasattr(sabotage, "long_gone")
