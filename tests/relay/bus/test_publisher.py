"""The replies of a server to a bus that publishes."""

from structlog.testing import capture_logs

from tests.relay.bus_desk import Desk


# private: how many commands are under way, and whether one was carried out, shows only in what happens much later
def test_a_publish_that_is_refused_is_logged_and_is_no_sign_of_life() -> None:
    desk = Desk()
    desk.publishing._under_way = 2
    with capture_logs() as log:
        desk.answered(Exception("NOPERM no permissions to publish"))
    assert [line["event"] for line in log] == ["publish refused"]
    assert not desk.publishing._served
    desk.answered()
    assert desk.publishing._served
    assert desk.publishing._under_way == 0
