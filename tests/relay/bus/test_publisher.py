"""The replies of a server to a bus that publishes."""

from structlog.testing import capture_logs

from tests.relay.bus_desk import Desk


def test_a_publish_that_is_refused_is_logged_and_is_no_sign_of_life() -> None:
    desk = Desk()
    desk.bus._publishing._under_way = 2
    with capture_logs() as log:
        desk.bus._publishing.answered(Exception("NOPERM no permissions to publish"))
    assert [line["event"] for line in log] == ["publish refused"]
    assert not desk.bus._publishing._served
    desk.bus._publishing.answered(1)
    assert desk.bus._publishing._served
    assert desk.bus._publishing._under_way == 0
