"""One timer for the pings of all connections."""

import asyncio

import pytest

from relay.server import heartbeat as module
from relay.server.heartbeat import Heartbeat
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


class Beating:
    """A connection that wants to look again after a while."""

    def __init__(self, after: float) -> None:
        self.after = after
        self.beats: list[float] = []

    def beat(self, now: float) -> float:
        self.beats.append(now)
        return now + self.after


async def test_each_looks_when_it_wants_to_and_never_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_SECONDS", 0.01)
    heartbeat, often, seldom = Heartbeat(), Beating(0.01), Beating(3600.0)
    start = asyncio.get_running_loop().time()
    heartbeat.add(often, start + 0.03)
    heartbeat.add(seldom, start)
    await until(lambda: len(often.beats) == 5)
    assert often.beats[0] >= start + 0.03
    assert all(then - one >= 0.01 for one, then in zip(often.beats, often.beats[1:], strict=False))
    assert len(seldom.beats) == 1
    heartbeat.close()


async def test_who_is_gone_is_forgotten_and_with_the_last_the_timer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_SECONDS", 0.01)
    heartbeat, one = Heartbeat(), Beating(0.02)
    heartbeat.add(one, 0.0)
    await until(lambda: one.beats)
    heartbeat.discard(one)
    assert not any(heartbeat._steps.values())  # private: what is kept of one that is gone shows nowhere else
    await until(lambda: heartbeat._timer is None)  # private: likewise
    heartbeat.add(one, 0.0)
    seen = len(one.beats)
    await until(lambda: len(one.beats) > seen)
    heartbeat.close()
