"""A subscriber that receives anything unexpected logs it and connects again."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.relay.bus_desk import Desk


def test_what_is_no_frame_is_passed_over() -> None:
    """Anybody may publish on our channels, and must not be able to end a node."""
    desk = Desk()
    with capture_logs() as log:
        desk.bus._subscription._pushed([b"message", b"t:inbox", b"hello, anybody there?"])
    assert [(line["event"], line["log_level"]) for line in log] == [("bad frame on the bus", "warning")]
    assert desk.heard == []
    assert not desk.receiver.aborted


@pytest.mark.parametrize("push", [Exception("NOPERM"), b"OK", [b"message", b"t:inbox"], None])
def test_what_is_no_message_costs_the_connection(push: Any) -> None:
    desk = Desk()
    with capture_logs() as log:
        desk.bus._subscription._pushed(push)
    assert [line["event"] for line in log] == ["unexpected reply to subscribe"]
    assert desk.receiver.aborted
    assert desk.bus._subscription._confirmed.is_set(), "whoever waits for the confirmation goes on, and finds it lost"


def test_a_server_that_serves_our_inbox_no_more_costs_the_connection() -> None:
    desk = Desk()
    desk.bus._subscription._pushed([b"sunsubscribe", b"t:inbox", 0])
    assert desk.receiver.aborted


def test_a_refusal_before_there_is_a_connection_costs_nothing() -> None:
    desk = Desk()
    desk.bus._subscription._receiver = None
    desk.bus._subscription._pushed([b"sunsubscribe", b"t:inbox", 0])
    assert desk.bus._subscription._confirmed.is_set()
