"""The links that a node checks: those with something to do, and those whose node may be gone."""

import pytest

from relay.bus import link_table
from relay.bus.link_table import LinkTable
from relay.bus.reliable_link import Frame, Kind, unpack
from relay.metrics import Counts
from relay.session.peer_messages import Ack

HERE, THERE = "1" * 16, "2" * 16
LEASE = 5.0
NOBODY: set[str] = set()


def some(count: int) -> list[str]:
    return [f"{n:016}" for n in range(count)]


def opened(node_ids: list[str], at: float = 0.0) -> LinkTable:
    opened = LinkTable(HERE, Counts(), LEASE)
    for node_id in node_ids:
        assert opened.open(node_id, at) is not None
    return opened


def acknowledged(sent: bytes) -> Frame:
    """The other node's acknowledgement of the first frame."""
    return Frame(Kind.ACK, THERE, bytes(8), 0, unpack(sent).stream, 1, b"")


class TestBusy:
    def test_quiet_links_are_not_looked_at(self) -> None:
        """This holds for any number of them, because the check runs many times a second."""
        its = opened(some(1000))
        assert its.busy() == []
        its.busy_ids[some(3)[2]] = None
        assert its.busy() == []
        assert its.busy_ids == {}  # private: what would be looked at again and again shows nowhere else

    def test_a_link_is_busy_for_as_long_as_something_is_under_way(self) -> None:
        its = opened([THERE])
        link = its.get(THERE)
        assert link is not None
        link.outbox.append(Ack("ann", "c1", 1))
        its.busy_ids[THERE] = None
        (sent,) = link.flush(0.0)
        assert [node_id for node_id, _ in its.busy()] == [THERE]
        link.take(acknowledged(sent), 0.1)
        assert its.busy() == []

    def test_a_link_that_is_forgotten_is_not_busy(self) -> None:
        its = opened([THERE])
        its.busy_ids[THERE] = None
        its.forget(THERE)
        assert its.busy() == []


class TestForgetting:
    def test_a_node_that_was_silent_for_a_lease_is_doubtful(self) -> None:
        its = opened([THERE])
        assert its.doubtful(LEASE - 0.1) == []
        assert its.doubtful(LEASE) == [THERE]
        assert its.doubtful(LEASE) == [], "until it's judged"

    def test_a_node_that_was_heard_is_not_doubtful(self) -> None:
        its = opened([THERE])
        link = its.get(THERE)
        assert link is not None
        link.heard = 4.0
        assert its.doubtful(LEASE) == []
        assert its.doubtful(4.0 + LEASE) == [THERE]

    def test_a_node_whose_lease_is_not_there_a_lease_later_either_is_forgotten(self) -> None:
        its = opened([THERE])
        assert its.judge(its.doubtful(5.0), {THERE}, 5.0) == []
        assert its.doubtful(9.9) == []
        assert its.judge(its.doubtful(10.0), {THERE}, 10.0) == [THERE]
        assert len(its) == 0
        assert its.doubtful(99.0) == []

    def test_a_node_that_was_forgotten_while_its_lease_was_looked_for_begins_anew(self) -> None:
        its = opened([THERE])
        doubtful = its.doubtful(5.0)
        its.forget(THERE)
        assert its.judge(doubtful, {THERE}, 5.0) == []
        its.open(THERE, 6.0)
        assert its.judge(its.doubtful(11.0), {THERE}, 11.0) == []
        assert its.judge(its.doubtful(16.0), {THERE}, 16.0) == [THERE]

    def test_a_node_whose_lease_was_put_back_meanwhile_begins_anew(self) -> None:
        its = opened([THERE])
        now = 5.0
        for absent in ({THERE}, NOBODY, {THERE}):
            assert its.judge(its.doubtful(now), absent, now) == []
            now += LEASE
        assert its.judge(its.doubtful(now), {THERE}, now) == [THERE]

    def test_a_node_that_spoke_in_between_begins_anew(self) -> None:
        its = opened([THERE])
        link = its.get(THERE)
        assert link is not None
        its.judge(its.doubtful(5.0), {THERE}, 5.0)
        link.heard = 6.0
        assert its.doubtful(10.0) == []
        assert its.judge(its.doubtful(11.0), {THERE}, 11.0) == []
        assert its.judge(its.doubtful(16.0), {THERE}, 16.0) == [THERE]

    def test_a_node_for_which_mail_waits_is_left_to_those_who_wait(self) -> None:
        its = opened([THERE])
        link = its.get(THERE)
        assert link is not None
        link.outbox.append(Ack("ann", "c1", 1))
        assert its.doubtful(5.0) == []
        (sent,) = link.flush(5.0)
        link.take(acknowledged(sent), 5.0)
        assert its.doubtful(5.0 + LEASE) == [THERE]

    def test_thousands_of_nodes_are_forgotten_within_a_minute_in_bounded_work(self) -> None:
        node_ids = some(link_table.LINKS)
        its = opened(node_ids)
        now, seconds = LEASE, 0
        while len(its):
            doubtful = its.doubtful(now)
            assert len(doubtful) <= link_table.CHECKS
            its.judge(doubtful, set(doubtful), now)
            now, seconds = now + 1.0, seconds + 1
        assert seconds < 60

    def test_thousands_of_nodes_that_live_cost_a_few_looks_a_second(self) -> None:
        node_ids = some(1000)
        its = opened(node_ids)
        now = LEASE
        for _ in range(30):  # the first check of each
            its.judge(its.doubtful(now), NOBODY, now)
            now += 1.0
        looks = 0
        for _ in range(1000):
            doubtful = its.doubtful(now)
            its.judge(doubtful, NOBODY, now)
            looks += len(doubtful)
            now += 1.0
        assert looks <= 1000 * link_table.LIVELY_CHECKS
        assert len(its) == 1000


class TestRoom:
    def test_when_there_are_too_many_links_the_oldest_quiet_ones_make_room(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link_table, "LINKS", 4)
        monkeypatch.setattr(link_table, "ROOM", 2)
        old = some(4)
        its = opened(old)
        for node_id, heard in zip(old, (9.0, 1.0, 3.0, 2.0), strict=True):
            link = its.get(node_id)
            assert link is not None
            link.heard = heard
        busy = its.get(old[1])
        assert busy is not None
        busy.outbox.append(Ack("ann", "c1", 1))
        assert its.open(THERE, 10.0) is not None
        assert set(its) == {old[0], old[1], THERE}
        assert its.doubtful(20.0) == [old[0], THERE], "those that are gone are gone from the looks too"

    def test_there_is_no_room_where_all_links_are_in_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(link_table, "LINKS", 1)
        its = opened(some(1))
        link = its.get(some(1)[0])
        assert link is not None
        link.outbox.append(Ack("ann", "c1", 1))
        assert its.open(THERE, 1.0) is None
        assert len(its) == 1
