"""A subscriber that receives anything unexpected logs it and connects again."""

import asyncio
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from relay.bus import subscriber
from relay.bus.subscriber import Subscriber
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from tests.relay.bus_desk import HERE, Desk
from tests.relay.desk import until


def is_confirmed(desk: Desk) -> bool:
    """Whether whoever waits for the confirmation of the subscription goes on."""
    return desk.subscription._confirmed.is_set()  # private: only the subscriber itself waits for it


def test_bytes_that_are_no_frame_are_passed_over() -> None:
    """Anybody may publish on our channels, and must not be able to end a node."""
    desk = Desk()
    with capture_logs() as log:
        desk.hear(b"hello, anybody there?")
    assert [(line["event"], line["log_level"]) for line in log] == [("bad frame on the bus", "warning")]
    assert desk.heard == []
    assert not desk.receiver.aborted


@pytest.mark.parametrize("push", [Exception("NOPERM"), b"OK", [b"message", b"t:inbox"], None])
def test_a_push_that_is_no_message_costs_the_connection(push: Any) -> None:
    desk = Desk()
    with capture_logs() as log:
        desk.push(push)
    assert [line["event"] for line in log] == ["unexpected reply to subscribe"]
    assert desk.receiver.aborted
    assert is_confirmed(desk), "whoever waits for the confirmation goes on, and finds it lost"


def test_a_server_that_serves_our_inbox_no_more_costs_the_connection() -> None:
    desk = Desk()
    desk.push([b"sunsubscribe", b"t:inbox", 0])
    assert desk.receiver.aborted


def test_a_refusal_before_there_is_a_connection_costs_nothing() -> None:
    desk = Desk()
    desk.connect(None, None)
    desk.push([b"sunsubscribe", b"t:inbox", 0])
    assert is_confirmed(desk)


@pytest.mark.anyio
async def test_a_server_that_does_not_confirm_the_subscription_is_named_and_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "CONFIRM_SECONDS", 0.05)
    left = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if b"SUBSCRIBE" not in data:
                writer.write(b"+PONG\r\n" * data.count(b"*"))
        writer.close()
        left.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        redis_client = RedisClient(f"redis://{address}")
        subscription = Subscriber(redis_client, Keys("t"), HERE, delegate=Desk().bus)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(subscription.run)
            await until(lambda: subscription.trouble == f"{address} does not confirm the subscription")
            await left.wait()
            tasks.cancel_scope.cancel()
        await redis_client.aclose()
