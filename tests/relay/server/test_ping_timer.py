"""One timer for the pings of all connections."""

import asyncio

import pytest

from relay.server import ping_timer as module
from relay.server.ping_timer import PingTimer
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


class Pinging:
    """A connection that wants to look again after a while."""

    def __init__(self, after: float) -> None:
        self.after: float | None = after  # None: it fails
        self.failed = False
        self.looks: list[float] = []

    def ping_if_due(self, now: float) -> float:
        self.looks.append(now)
        if self.after is None:
            raise RuntimeError("a defect")
        return now + self.after

    def fail(self) -> None:
        self.failed = True


async def test_each_connection_looks_when_it_wants_to_and_never_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_SECONDS", 0.01)
    ping_timer, often, seldom = PingTimer(), Pinging(0.01), Pinging(3600.0)
    start = asyncio.get_running_loop().time()
    ping_timer.add(often, start + 0.03)
    ping_timer.add(seldom, start)
    await until(lambda: len(often.looks) == 5)
    assert often.looks[0] >= start + 0.03
    assert all(then - one >= 0.01 for one, then in zip(often.looks, often.looks[1:], strict=False))
    assert len(seldom.looks) == 1
    ping_timer.close()


@pytest.mark.parametrize("broken", [1, 2, 3])
async def test_a_connection_that_fails_takes_nothing_from_the_others(
    broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_SECONDS", 0.01)
    timer, ones = PingTimer(), [Pinging(0.01) for _ in range(4)]
    for one in ones[:broken]:
        one.after = None
    for one in ones:
        timer.add(one, 0.0)
    await until(lambda: all(len(one.looks) == 3 for one in ones[broken:]))
    assert all(one.failed and len(one.looks) == 1 for one in ones[:broken])
    timer.close()


async def test_a_connection_that_is_gone_is_forgotten_and_with_the_last_one_the_timer_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STEP_SECONDS", 0.01)
    ping_timer, one = PingTimer(), Pinging(0.02)
    ping_timer.add(one, 0.0)
    await until(lambda: one.looks)
    ping_timer.discard(one)
    assert not any(ping_timer._steps.values())  # private: what is kept of one that is gone shows nowhere else
    await until(lambda: ping_timer._timer is None)  # private: likewise
    ping_timer.add(one, 0.0)
    seen = len(one.looks)
    await until(lambda: len(one.looks) > seen)
    ping_timer.close()
