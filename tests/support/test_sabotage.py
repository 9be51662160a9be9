"""Tests that each safeguard that the proof of `relay torture` disables exists under the name that the proof uses."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import sabotage

ROOT = Path(__file__).parents[2]

# Each is applied in a process of its own, because it changes that process. All of these are copies of one, in which the
# imports are done.
APPLY_EACH = """
import os, traceback
from tests.fixtures import sabotage

for name, deed in sabotage.SABOTAGE.items():
    if os.fork() == 0:
        try:
            deed()
            sabotage.launch_sabotaged(name)
            os.write(1, f"{name}\\n".encode())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.wait()
"""


def test_each_sabotage_finds_what_it_takes_out() -> None:
    done = subprocess.run([sys.executable, "-c", APPLY_EACH], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == list(sabotage.SABOTAGE), done.stderr


def test_a_name_that_is_gone_is_noticed() -> None:
    with pytest.raises(AttributeError):
        sabotage.patch(sabotage, "long_gone", None)
    assert not hasattr(sabotage, "long_gone")
