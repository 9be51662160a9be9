"""A connection of the bus that can't be made is tried again and again; the log isn't flooded with that."""

import anyio
import pytest
from structlog.testing import capture_logs

from relay.directory import Unavailable
from relay.redis_client import connection, reconnect
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


async def test_a_connection_that_is_not_made_again_and_again_is_logged_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "RECONNECT_MAX_SECONDS", 0.0)
    tries = 0

    async def fail() -> bool:
        nonlocal tries
        tries += 1
        raise Unavailable("is not the primary")

    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reconnect.keep, fail, "publisher")
            await until(lambda: tries > 2 * reconnect.SAY_EVERY)
            tasks.cancel_scope.cancel()
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert len(warnings) == tries // reconnect.SAY_EVERY
    assert warnings[0]["error"] == "is not the primary"
    assert warnings[0]["role"] == "publisher"
