"""Two links over a channel that may do anything that pub/sub can: everything arrives, once and in order."""

from collections import deque
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.bus.reliable_link import (
    ACK_FRAMES,
    ACK_SECONDS,
    FLIGHT_BYTES,
    FRAME_BYTES,
    HEADER_BYTES,
    REPORT_SECONDS,
    RESEND_MAX_SECONDS,
    RESEND_SECONDS,
    BadFrame,
    Frame,
    Kind,
    Link,
    note,
    pack,
    unpack,
)
from relay.metrics import Counts
from relay.session.peer_messages import VERSION, Ack, Text, decode
from tests.support.rows import each_row

A, B = "a" * 16, "b" * 16


def mail(n: int) -> Ack:
    """Return peer message number n."""
    return Ack("ben", "c1", n)


def numbers(frame: Frame) -> list[int]:
    """Return the numbers of the peer messages in a frame."""
    return [m.id for m in decode(frame.body) if isinstance(m, Ack)]


class Side:
    """One end: a link, the messages that it delivered, and how often it had to begin anew."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.counts = Counts()
        self.restart()
        self.sent = 0
        self.resets = 0

    def restart(self) -> None:
        """Forget everything, as a node does that has given the other one up for dead."""
        self.link = Link(self.node_id, self.counts)
        self.delivered: list[int] = []

    def post(self) -> None:
        self.sent += 1
        self.link.outbox.append(mail(self.sent))

    def hear(self, raw: bytes, now: float) -> list[bytes]:
        """Handle a frame as the bus does."""
        frame = unpack(raw)
        if self.link.lost(frame):
            self.resets += 1
        wanted, replies = self.link.take(frame, now)
        if wanted:
            self.delivered += numbers(frame)
        return replies


def exchange(a: Side, b: Side, frames: list[bytes], now: float = 0.0) -> None:
    """Deliver frames from a to b and all that follow from them, without a loss."""
    there, back = deque(frames), deque[bytes]()
    while there or back:
        if there:
            back.extend(b.hear(there.popleft(), now))
        else:
            there.extend(a.hear(back.popleft(), now))


@pytest.fixture
def a() -> Side:
    return Side(A)


@pytest.fixture
def b() -> Side:
    return Side(B)


class TestFrames:
    @given(st.sampled_from(Kind), st.binary(min_size=8, max_size=8), st.integers(0, 2**64 - 1), st.binary())
    def test_a_frame_that_is_packed_comes_out_again(self, kind: Kind, stream: bytes, number: int, body: bytes) -> None:
        raw = pack(kind, A, stream, number, stream, number, body)
        assert unpack(raw) == Frame(kind, A, stream, number, stream, number, body)

    def test_a_note_belongs_to_no_stream(self) -> None:
        frame = unpack(note(Kind.ROLL_CALL, A, 7))
        assert (frame.kind, frame.stream, frame.number, frame.body) == (Kind.ROLL_CALL, bytes(8), 7, b"")

    @given(st.binary(max_size=200))
    def test_hostile_bytes_are_bad_or_a_frame(self, raw: bytes) -> None:
        with suppress(BadFrame):
            unpack(raw)

    @each_row(
        "raw",
        [
            b"",
            note(Kind.PROBE, A)[: HEADER_BYTES - 1],
            bytes([VERSION + 1]) + note(Kind.PROBE, A)[1:],
            bytes([VERSION, 99]) + note(Kind.PROBE, A)[2:],
            bytes([VERSION, Kind.PROBE]) + b"\xff" * (HEADER_BYTES - 2),
        ],
        ids=["empty", "cut", "another version", "unknown kind", "a uid that isn't ASCII"],
    )
    def test_bytes_that_are_no_frame_of_this_version_are_refused(self, raw: bytes) -> None:
        with pytest.raises(BadFrame):
            unpack(raw)


class TestSending:
    def test_all_mail_of_a_turn_leaves_in_one_frame(self, a: Side) -> None:
        for _ in range(5):
            a.post()
        (frame,) = map(unpack, a.link.flush(0.0))
        assert (frame.number, numbers(frame)) == (1, [1, 2, 3, 4, 5])
        assert a.link.flush(0.0) == []

    def test_a_frame_holds_a_bounded_number_of_bytes(self, a: Side) -> None:
        a.link.outbox += [Text("ben", "c", 1, 1, 0, 0.0, ["x" * (FRAME_BYTES // 2)])] * 5
        sizes = [len(unpack(raw).body) for raw in a.link.flush(0.0)]
        assert len(sizes) == 3
        assert max(sizes) < 2 * FRAME_BYTES

    def test_mail_under_way_is_bounded_and_goes_on_with_the_acknowledgement(self, a: Side, b: Side) -> None:
        a.link.outbox += [Text("ben", "c", 1, 1, 0, 0.0, ["x" * FRAME_BYTES])] * 20
        first = a.link.flush(0.0)
        assert sum(map(len, first)) < FLIGHT_BYTES + 2 * FRAME_BYTES
        assert a.link.flush(0.0) == []
        for raw in first:
            _, replies = b.link.take(unpack(raw), 0.0)
            for reply in replies:
                a.link.take(unpack(reply), 0.0)
        assert len(a.link.flush(0.0)) > 1

    def test_a_frame_is_under_way_until_acknowledged(self, a: Side, b: Side) -> None:
        assert a.link.quiet
        a.post()
        assert not a.link.quiet
        exchange(a, b, a.link.flush(0.0))
        assert a.link.under_way == 1
        assert not b.link.quiet
        exchange(b, a, b.link.tick(2 * ACK_SECONDS), 2 * ACK_SECONDS)
        assert (a.link.under_way, a.link.quiet, b.link.quiet) == (0, True, True)


class TestAcknowledging:
    def test_an_acknowledgement_rides_on_mail_where_there_is_some(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(0.0))
        b.post()
        exchange(b, a, b.link.flush(0.0))
        assert a.link.under_way == 0
        assert b.link.tick(2 * ACK_SECONDS) == []

    def test_an_acknowledgement_waits_a_short_while_for_a_frame_to_ride_on(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(1.0), 1.0)
        assert b.link.tick(1.0 + ACK_SECONDS / 2) == []
        (raw,) = b.link.tick(1.0 + ACK_SECONDS * 1.1)
        assert unpack(raw).kind is Kind.ACK

    def test_many_frames_are_acknowledged_at_once(self, a: Side, b: Side) -> None:
        for _ in range(ACK_FRAMES):
            a.post()
            exchange(a, b, a.link.flush(0.0))
        assert a.link.under_way == 0

    def test_a_frame_sent_again_although_it_is_here_is_acknowledged_again(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(0.0))
        b.link.tick(2 * ACK_SECONDS)  # this acknowledgement is lost
        exchange(a, b, a.link.tick(2 * RESEND_SECONDS), 2 * RESEND_SECONDS)
        exchange(b, a, b.link.tick(2 * RESEND_SECONDS + 2 * ACK_SECONDS))
        assert a.link.under_way == 0
        assert b.delivered == [1]


class TestLoss:
    def test_a_gap_is_reported_at_once_and_filled_in_order(self, a: Side, b: Side) -> None:
        a.post()
        a.link.flush(0.0)  # lost
        a.post()
        exchange(a, b, a.link.flush(0.0))
        assert b.delivered == [1, 2]

    def test_a_gap_is_not_reported_for_every_frame_behind_it(self, a: Side, b: Side) -> None:
        a.post()
        a.link.flush(0.0)  # lost
        reports = []
        for _ in range(5):
            a.post()
            for raw in a.link.flush(0.0):
                reports += b.hear(raw, 0.0)
        assert len(reports) == 1

    def test_a_gap_that_stays_is_reported_again(self, a: Side, b: Side) -> None:
        reports = []
        a.post()
        a.link.flush(0.0)  # lost
        for n in range(2):
            a.post()
            for raw in a.link.flush(0.0):
                reports += b.hear(raw, n * 1.1 * REPORT_SECONDS)
        assert len(reports) == 2

    def test_a_last_frame_that_is_lost_goes_again_after_a_while(self, a: Side, b: Side) -> None:
        a.post()
        a.link.flush(0.0)  # lost
        assert a.link.tick(RESEND_SECONDS / 2) == []
        exchange(a, b, a.link.tick(RESEND_SECONDS * 1.1))
        assert b.delivered == [1]

    def test_whoever_could_not_hear_asks_for_what_it_missed(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(0.0))
        a.post()
        a.link.flush(0.0)  # lost
        exchange(b, a, [b.link.request_retransmit()])
        assert b.delivered == [1, 2]


class TestForgetting:
    def test_a_receiver_that_has_forgotten_the_stream_gets_a_new_one(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(0.0))
        exchange(b, a, b.link.tick(1.0), 1.0)
        b.restart()
        a.post()
        exchange(a, b, a.link.flush(1.0), 1.0)
        assert a.resets == 1
        assert (a.link.under_way, b.delivered) == (0, [])
        a.post()
        exchange(a, b, a.link.flush(1.0), 1.0)
        assert b.delivered == [3]

    def test_a_sender_that_has_forgotten_begins_a_stream_that_is_heard(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(0.0))
        a.restart()
        a.post()
        exchange(a, b, a.link.flush(0.0))
        assert b.delivered == [1, 2]

    def test_an_answer_to_a_node_that_has_forgotten_this_one_reaches_it(self, a: Side, b: Side) -> None:
        """It has just called somebody here, and would wait for the answer in vain."""
        for one, other in ((a, b), (b, a)):
            one.post()
            exchange(one, other, one.link.flush(0.0))
        exchange(a, b, a.link.tick(1.0), 1.0)
        exchange(b, a, b.link.tick(1.0), 1.0)
        a.restart()
        a.post()
        exchange(a, b, a.link.flush(1.0), 1.0)
        b.post()
        exchange(b, a, b.link.flush(1.0), 1.0)
        assert (b.resets, b.delivered, a.delivered) == (1, [1, 2], [2])

    def test_the_first_messages_of_two_nodes_that_cross_reset_nothing(self, a: Side, b: Side) -> None:
        a.post()
        b.post()
        there, back = a.link.flush(0.0), b.link.flush(0.0)
        exchange(a, b, there)
        exchange(b, a, back)
        exchange(a, b, a.link.tick(1.0), 1.0)
        b.post()
        exchange(b, a, b.link.flush(1.0), 1.0)
        assert (a.resets, b.resets, a.delivered, b.delivered) == (0, 0, [1, 2], [1])

    def test_acknowledgements_of_an_old_stream_mean_nothing_in_a_new_one(self, a: Side, b: Side) -> None:
        a.post()
        exchange(a, b, a.link.flush(0.0))
        old = b.link.request_retransmit()
        a.restart()
        a.post()
        a.link.flush(0.0)
        assert a.hear(old, 0.0) == []
        assert (a.link.under_way, a.resets) == (1, 0)

    def test_a_report_of_what_was_never_acknowledged_resets_nothing(self, a: Side, b: Side) -> None:
        for _ in range(3):
            a.post()
            exchange(a, b, a.link.flush(0.0)) if a.sent == 1 else a.link.flush(0.0)
        exchange(b, a, [b.link.request_retransmit()])
        assert (a.resets, b.delivered) == (0, [1, 2, 3])


@given(st.lists(st.integers(0, 9), max_size=60))
def test_frames_in_any_order_are_delivered_in_theirs(order: list[int]) -> None:
    a, b = Side(A), Side(B)
    frames = []
    for _ in range(10):
        a.post()
        frames += a.link.flush(0.0)
    for n in order:
        b.hear(frames[n], 0.0)
    assert b.delivered == list(range(1, len(b.delivered) + 1))
    for raw in frames:
        b.hear(raw, 0.0)
    assert b.delivered == list(range(1, 11))


class Channel(RuleBasedStateMachine):
    """Two links that both send. The test drops and doubles frames, and lets time pass."""

    sides = st.sampled_from((0, 1))

    def __init__(self) -> None:
        super().__init__()
        self.ends = (Side(A), Side(B))
        self.wires: tuple[deque[bytes], deque[bytes]] = (deque(), deque())  # by the side that sent them
        self.now = 0.0

    @rule(side=sides, count=st.integers(1, 3))
    def post(self, side: int, count: int) -> None:
        for _ in range(count):
            self.ends[side].post()

    @rule(side=sides)
    def flush(self, side: int) -> None:
        self.wires[side].extend(self.ends[side].link.flush(self.now))

    @rule(side=sides)
    def arrive(self, side: int) -> None:
        if self.wires[side]:
            other = 1 - side
            self.wires[other].extend(self.ends[other].hear(self.wires[side].popleft(), self.now))

    @rule(side=sides)
    def drop(self, side: int) -> None:
        if self.wires[side]:
            self.wires[side].popleft()

    @rule(side=sides)
    def double(self, side: int) -> None:
        if self.wires[side]:
            self.wires[side].appendleft(self.wires[side][0])

    @rule(side=sides)
    def resubscribe(self, side: int) -> None:
        self.wires[1 - side].clear()
        self.wires[side].append(self.ends[side].link.request_retransmit())

    @rule(seconds=st.sampled_from((0.01, 0.06, 0.2, 0.6)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for side in (0, 1):
            self.wires[side].extend(self.ends[side].link.tick(self.now))

    @invariant()
    def what_was_delivered_is_the_beginning_of_what_was_sent(self) -> None:
        for end, other in (self.ends, self.ends[::-1]):
            assert end.delivered == list(range(1, len(end.delivered) + 1))
            assert len(end.delivered) <= other.sent

    def teardown(self) -> None:
        """Lose nothing any more: everything must arrive within the longest time-out, and both sides must know it."""
        end = self.now + RESEND_MAX_SECONDS + 2 * RESEND_SECONDS
        while self.now < end:
            for side in (0, 1):
                self.flush(side)
            while any(self.wires):
                self.arrive(0)
                self.arrive(1)
            self.time_passes(RESEND_SECONDS * 1.2)
        for here, there in (self.ends, self.ends[::-1]):
            assert here.delivered == list(range(1, there.sent + 1))
            assert here.link.quiet
            assert not here.resets


TestChannel: Any = Channel.TestCase
TestChannel.settings = settings(stateful_step_count=40)


def test_a_frame_of_an_older_node_is_understood() -> None:
    """These are the bytes of version 0.1. Never change them: nodes of one major version understand each other."""
    old = bytes.fromhex(
        "0101"
        + b"0123456789abcdef".hex()
        + b"stream01".hex()
        + "0000000000000007"
        + b"stream02".hex()
        + "0000000000000005"
    )
    frame = unpack(old + b"body")
    assert frame == Frame(Kind.MAIL, "0123456789abcdef", b"stream01", 7, b"stream02", 5, b"body")
    assert [kind.name for kind in sorted(Kind)] == [
        *("MAIL", "ACK", "MISSING", "PROBE", "ROLL_CALL", "HERE", "FAREWELL", "DRAIN", "KICK"),
    ]


@pytest.mark.parametrize("head", ["0201", "01ff"], ids=["another version", "a kind of a newer node"])
def test_a_frame_of_another_version_or_a_newer_kind_is_refused(head: str) -> None:
    with pytest.raises(BadFrame):
        unpack(bytes.fromhex(head) + bytes(HEADER_BYTES - 2))
