"""Tests that children don't inherit ignored signals from the tests, as with `nohup make test &`."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import give_children_default_dispositions

IGNORED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


@pytest.fixture
def ignored() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ignored_by_a_child() -> set[signal.Signals]:
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True)
    mask = int(next(line for line in status.stdout.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    return {number for number in IGNORED if mask & 1 << number - 1}


def test_children_get_the_default(ignored: None) -> None:
    assert ignored_by_a_child() == set(IGNORED)
    give_children_default_dispositions()
    assert ignored_by_a_child() == set()
    signal.raise_signal(signal.SIGHUP)  # it still has no effect in this process
