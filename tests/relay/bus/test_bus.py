"""The times at which messages leave a node: those of one tick in one frame, and acknowledgements not too often."""

import asyncio
import time

import anyio
import pytest
from structlog.testing import capture_logs

from relay.bus import bus as bus_module
from relay.bus import link_table, publisher
from relay.bus.reliable_link import FLIGHT_BYTES, Frame, Kind, Link, note, pack, unpack
from relay.metrics import Counts, Limit
from relay.session.peer_messages import Ack, Text, encode
from tests.relay.bus_desk import OTHER, THERE, Desk
from tests.relay.desk import until
from tests.support.stepped_loop import SteppedLoop

pytestmark = pytest.mark.anyio

ACKS = [Ack("ann", "c1", id) for id in range(1, 5)]
TEXT = Text("ann", "c1", 1, 1, 0, 1.0, ["hi"])


async def test_all_mail_of_a_turn_leaves_in_one_frame() -> None:
    assert Desk().turn(TEXT, *ACKS) == [[TEXT, *ACKS]]


class TestAcknowledgements:
    async def test_an_acknowledgement_leaves_at_once_when_nothing_left_before(self) -> None:
        assert Desk().turn(ACKS[0]) == [[ACKS[0]]]

    async def test_other_acknowledgements_gather_for_a_pause_and_leave_by_themselves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bus_module, "ACK_PAUSE_SECONDS", 0.05)
        desk, began = Desk(), time.monotonic()
        desk.turn(ACKS[0])
        assert desk.turn(ACKS[1]) == []
        assert desk.turn(ACKS[2]) == []
        await until(lambda: desk.publisher.mail)
        assert desk.publisher.mail == [ACKS[1:3]]
        assert time.monotonic() - began >= 0.05

    async def test_other_mail_takes_acknowledgements_along(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bus_module, "ACK_PAUSE_SECONDS", 60.0)
        desk = Desk()
        desk.turn(ACKS[0])
        assert desk.turn(ACKS[1]) == []
        assert desk.turn(TEXT) == [[ACKS[1], TEXT]]

    async def test_the_pause_ends_in_no_tick_when_no_acknowledgements_wait_any_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bus_module, "ACK_PAUSE_SECONDS", 0.01)
        desk, over = Desk(), anyio.Event()
        desk.turn(ACKS[0])
        desk.turn(ACKS[1])
        desk.turn(TEXT)
        # Timers ring in the order of their times, and this one is the later of the two.
        asyncio.get_running_loop().call_later(0.01, over.set)
        await over.wait()
        assert desk.begun == 0

    async def test_acknowledgements_that_found_no_room_leave_when_there_is_some(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publisher, "UNDER_WAY", 1)
        desk = Desk()
        desk.turn(TEXT)
        monkeypatch.setattr(bus_module, "ACK_PAUSE_SECONDS", 0.0)
        assert desk.turn(ACKS[0]) == []
        desk.answered()
        assert desk.publisher.mail == [[ACKS[0]]]
        assert desk.begun == 1


class TestGathering:
    async def test_messages_leave_at_once_when_nothing_left_before(self) -> None:
        assert Desk(gather=60.0).turn(TEXT) == [[TEXT]]

    def test_other_messages_gather_for_a_pause_and_leave_by_themselves_in_one_frame(self) -> None:
        loop = SteppedLoop.at(0.0)
        with loop.running():
            desk = Desk(gather=0.05)
            desk.turn(TEXT)
            assert desk.turn(TEXT) == []
            assert desk.turn(ACKS[0]) == []
        loop.pass_time(0.04)
        assert desk.publisher.mail == []
        loop.pass_time(0.02)
        assert desk.publisher.mail == [[TEXT, ACKS[0]]]

    async def test_messages_for_another_node_do_not_wait(self) -> None:
        desk = Desk(gather=60.0)
        desk.turn(TEXT)
        desk.bus.post(OTHER, TEXT)
        assert desk.turn(TEXT) == [[TEXT]]

    async def test_messages_that_gather_count_as_not_acknowledged(self) -> None:
        desk = Desk(gather=60.0)
        desk.turn(TEXT)
        desk.turn(ACKS[0])
        assert desk.bus.waiting() == {THERE}


class TestAnswers:
    """Replies make room for the messages that were held back."""

    async def test_an_answer_asks_for_nothing_where_nothing_was_held_back(self) -> None:
        desk = Desk()
        desk.turn(TEXT, TEXT)
        desk.bus.post(THERE, TEXT)  # leaves at the end of the tick in which it was posted, without being asked for
        desk.answered()
        assert desk.begun == 0

    async def test_mail_that_waited_for_the_lease_leaves_with_the_next_answer(self) -> None:
        desk = Desk()
        desk.lease.standing = False
        assert desk.turn(TEXT) == []
        desk.lease.standing = True
        desk.answered()
        assert desk.publisher.mail == [[TEXT]]


class TestDelegate:
    async def test_the_delegate_hears_of_a_node_that_had_forgotten_this_one(self) -> None:
        desk, there, anew = Desk(), Link(THERE, Counts()), Link(THERE, Counts())
        desk.turn(TEXT)
        there.take(unpack(desk.publisher.frames[-1]), 0.0)
        desk.hear(there.request_retransmit())
        assert desk.forgetful == []
        desk.turn(TEXT)
        _, (what_is_missing,) = anew.take(unpack(desk.publisher.frames[-1]), 0.0)
        desk.hear(what_is_missing)
        assert desk.forgetful == [THERE]

    async def test_the_delegate_is_handed_what_is_no_mail_also_without_a_lease(self) -> None:
        desk = Desk()
        desk.lease.standing = False
        desk.hear(note(Kind.FAREWELL, THERE))
        desk.hear(pack(Kind.MAIL, THERE, b"streamed", 1, body=encode([TEXT])))
        assert [frame.kind for frame in desk.heard if isinstance(frame, Frame)] == [Kind.FAREWELL]
        assert len(desk.heard) == 1


class TestHints:
    """Messages that are only useful now leave with the next flush, or not at all."""

    async def test_there_is_room_on_a_bus_that_can_publish(self) -> None:
        desk = Desk()
        assert desk.bus.flowing(THERE)
        desk.turn(TEXT)
        assert desk.bus.flowing(THERE)

    async def test_there_is_no_room_while_the_server_is_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publisher, "UNDER_WAY", 1)
        desk = Desk()
        desk.turn(TEXT)
        assert not desk.bus.flowing(THERE)

    async def test_there_is_no_room_without_a_connection_or_a_lease(self) -> None:
        desk = Desk()
        desk.lease.standing = False
        assert not desk.bus.flowing(THERE)
        desk = Desk()
        desk.connect(None, None)
        assert not desk.bus.flowing(THERE)

    async def test_there_is_no_room_to_a_node_that_acknowledges_nothing(self) -> None:
        desk = Desk()
        desk.turn(Text("ann", "c1", 1, 1, 0, 1.0, ["x" * FLIGHT_BYTES]))
        assert not desk.bus.flowing(THERE)
        assert desk.bus.flowing(OTHER)


async def test_mail_to_one_node_too_many_is_dropped_counted_and_logged_and_other_mail_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_table, "LINKS", 1)
    desk = Desk()
    with capture_logs() as lines:
        desk.bus.post(THERE, TEXT)
        desk.bus.post(OTHER, TEXT)
    assert desk.turn() == [[TEXT]]
    assert desk.counts.limits[Limit.LINKS] == 1
    assert [line["uid"] for line in lines] == [OTHER]
