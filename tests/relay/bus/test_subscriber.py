"""A subscriber that receives anything unexpected logs it and connects again."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.relay.bus_desk import Desk


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
