"""The bus retries a connection that can't be made, without flooding the log."""

import anyio
import pytest
from anyio.lowlevel import checkpoint
from structlog.testing import capture_logs

from relay.bus import reconnect
from relay.directory.directory import Unavailable
from relay.redis_client import backoff
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


async def test_a_connection_that_is_not_made_again_and_again_is_logged_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnect, "RECONNECT_SECONDS", (0.0,))
    tries = 0
    told: set[str] = set()

    async def fail() -> reconnect.Ended:
        nonlocal tries
        tries += 1
        if tries == 30:
            return reconnect.Ended(True, "redis:1")
        raise Unavailable("redis:1 is not the primary")

    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reconnect.keep, fail, "publisher", told.add)
            await until(lambda: tries > 30)
            tasks.cancel_scope.cancel()
    assert told == {"redis:1 is not the primary"}
    assert [line["event"] for line in lines] == [
        "bus connection not made",
        "bus connection made again",
        "bus connection lost",
        "bus connection not made",
    ]
    assert lines[0] == {
        "event": "bus connection not made",
        "log_level": "warning",
        "error": "redis:1 is not the primary",
        "role": "publisher",
    }
    assert (lines[1]["times"], lines[2]["server"]) == (29, "redis:1")


async def test_a_connection_that_served_is_made_anew_at_once_and_one_that_did_not_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnect, "RECONNECT_SECONDS", (0.0, 3600.0))
    monkeypatch.setattr(backoff, "BRIEF_SECONDS", 0.0)
    served = [True, True, False]

    async def serve() -> reconnect.Ended:
        return reconnect.Ended(served.pop(0), "redis:1")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reconnect.keep, serve, "publisher", lambda _: None)
        await until(lambda: not served)
        for _ in range(10):  # a further session would end the test, but there is none
            await checkpoint()
        tasks.cancel_scope.cancel()


async def test_a_connection_that_served_only_briefly_is_made_anew_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that cuts each connection off at once must not be asked for the next one without end."""
    monkeypatch.setattr(reconnect, "RECONNECT_SECONDS", (0.0, 3600.0))
    monkeypatch.setattr(backoff, "BRIEF_SECONDS", 3600.0)
    sessions = 0

    async def serve() -> reconnect.Ended:
        nonlocal sessions
        sessions += 1
        return reconnect.Ended(True, "redis:1")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reconnect.keep, serve, "subscriber", lambda _: None)
        await until(lambda: sessions > 0)
        for _ in range(10):
            await checkpoint()
        tasks.cancel_scope.cancel()
    assert sessions == 1
