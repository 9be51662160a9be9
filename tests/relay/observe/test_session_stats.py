"""Sessions are counted by state, and the count of many leaves the loop to others."""

import time

import anyio
import anyio.lowlevel
import pytest

from relay.hub.hub import Hub
from relay.metrics import Counts
from relay.observe import loop_lag, session_stats
from relay.protocol import dialects
from relay.protocol.errors import Presence
from relay.server import connection
from relay.session.runtime_interface import Limits
from relay.session.session import Session
from relay.web import dialect
from tests.relay.desk import Connect, until

pytestmark = pytest.mark.anyio

WINDOW = 8
WINDOW_BYTES = 1000
LIMITS = Limits(window=WINDOW, window_bytes=WINDOW_BYTES)


# private: the table itself is what is tested
def test_every_dialect_has_its_name() -> None:
    known = [*vars(dialects).values(), *vars(dialect).values()]
    there = {id(one) for one in known if hasattr(one, "render") and not isinstance(one, type)}
    assert there == set(connection._NAMES)
    assert {*connection._NAMES.values(), "unknown"} == set(session_stats.DIALECTS)


async def test_everyone_by_dialect_and_state(hub: Hub, wire: Connect) -> None:
    wire()
    wire(b"a{n\n")
    wire(b"dan", classic=True)
    ann, ben, cas = wire(b"ann\n"), wire(b'{"type":"hello","name":"ben"}\n'), wire(b'{"type":"hello","name":"cas"}\n')
    await until(lambda: ann.sent and ben.sent and cas.sent and "dan" in hub.sessions)
    ann.send(b"To:ben\n")
    await until(lambda: b"You are" in ann.sent)
    cas.reset()
    await until(lambda: hub.sessions["cas"].away and hub.sessions["dan"].named)
    tally = await session_stats.count(hub)
    assert tally.sessions == {
        ("unknown", session_stats.NAMELESS): 1,
        ("text", session_stats.NAMELESS): 1,
        ("text", Presence.BUSY): 1,
        ("json", Presence.BUSY): 1,
        ("json", Presence.AWAY): 1,
        ("classic", Presence.FREE): 1,
    }
    assert (tally.connections, tally.users, tally.chatting) == (5, 4, 2)


async def test_many_are_counted_in_slices(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_stats, "SLICE", 10)
    hub.sessions = {str(n): Session(hub) for n in range(95)}
    turns, counting = 0, True

    async def take_turns() -> None:
        nonlocal turns
        while counting:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        await session_stats.count(hub)
        counting = False
    assert turns >= 9


async def test_each_end_of_a_session_is_counted_by_its_reason(hub: Hub, wire: Connect) -> None:
    ann, ben, cas = wire(b"ann\n"), wire(b"ben\n"), wire(b"cas\n")
    await until(lambda: ann.sent and ben.sent and cas.sent)
    ann.send(b"Quit\n")
    ben.reset()
    await until(lambda: hub.sessions.keys() == {"cas"})
    assert {why: count for why, count in hub.counts.endings.items() if count} == {"quit": 1, "hung_up": 1}


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        (b"x\n" * (WINDOW // 2 + 1), (WINDOW // 2 + 1) / WINDOW),
        (b"x" * (WINDOW_BYTES // 2) + b"\n", 0.5),
    ],
    ids=["many", "long"],
)
async def test_windows_are_looked_at_and_empty_ones_left_out(
    hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch, texts: bytes, share: float
) -> None:
    monkeypatch.setattr(session_stats, "WINDOWS_SECONDS", 0.01)
    ann, ben = wire(b"ann\n"), wire(b"ben\n")
    await until(lambda: ann.sent and ben.sent)
    ann.send(b"To:ben\n")
    await until(lambda: b"You are" in ann.sent)
    ben.full = True
    ann.send(texts)  # the first text is on its way to the kernel
    await until(lambda: hub.sessions["ann"].chat.unacked.count == texts.count(b"\n"))  # type: ignore[union-attr]
    counts = Counts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session_stats.watch_windows, hub, counts)
        await until(lambda: sum(counts.windows.counts))
        tasks.cancel_scope.cancel()
    assert counts.windows.sum == pytest.approx(share * sum(counts.windows.counts))


async def test_a_loop_that_is_held_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "BEAT_SECONDS", 0.01)
    counts = Counts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop_lag.watch_loop, counts)
        await anyio.lowlevel.checkpoint()
        time.sleep(0.3)  # noqa: ASYNC251  this is what is to be seen
        await until(lambda: sum(counts.loop_lag.counts))
        tasks.cancel_scope.cancel()
    assert counts.loop_lag.sum >= 0.25
