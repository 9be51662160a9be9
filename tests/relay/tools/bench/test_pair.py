"""Two users who chat: the messages that may be sent, and their outcomes, in literal bytes."""

import pytest

from relay.tools.bench.client_dialects import Json, Text
from relay.tools.bench.histogram import Histogram
from relay.tools.bench.pair import MAX_LINE, Pair, Stage

WELCOME = b'{"type":"welcome","v":1,"name":"x","token":"t","window":%d}\n'
PAIRED = b'{"type":"paired","name":"y","chat":"c","acks":"node","resumed":false}\n'


def met(in_flight: int, *, window: int = 256, acks: bool = False) -> Pair:
    pair = Pair(0, "t", Json(acks=acks), in_flight=in_flight, answers=True)
    pair.sender.feed(WELCOME % window + PAIRED)
    pair.receiver.feed(WELCOME % window + PAIRED)
    return pair


def msgs(first: int, count: int, stamp: int = 5) -> bytes:
    return b"".join(
        b'{"type":"msg","id":%d,"from":"x","chat":"c","text":"@%019d hi","at":1.5}\n' % (id, stamp)
        for id in range(first, first + count)
    )


def test_nothing_is_said_before_both_have_met() -> None:
    pair = Pair(0, "t", Json(acks=False), in_flight=4, answers=True)
    pair.sender.feed(WELCOME % 256 + PAIRED)
    assert pair.room() == 0
    pair.receiver.feed(WELCOME % 256)
    assert pair.room() == 0
    pair.receiver.feed(PAIRED)
    assert pair.room() == 4


def test_as_much_is_said_as_the_partner_got() -> None:
    pair = met(4)
    assert pair.say(4, 5).count(b"\n") == 4
    assert pair.room() == 0
    pair.hear(msgs(1, 3), 6, None)
    assert pair.room() == 3
    assert b'"id":5,' in pair.say(1, 5)


def test_the_window_counts_until_the_acknowledgement() -> None:
    pair = met(4, window=5)
    pair.say(4, 5)
    pair.hear(msgs(1, 4), 6, None)
    assert pair.room() == 1
    pair.sender.feed(b'{"type":"ack","id":3,"chat":"c"}\n')
    assert pair.room() == 4


def test_text_has_no_acknowledgements_to_wait_for() -> None:
    pair = Pair(0, "t", Text(), in_flight=2, answers=False)
    pair.sender.feed(b"OK\n* You are chatting with tr0.\n")
    pair.receiver.feed(b"OK\n* ts0 is chatting with you.\n")
    pair.say(2, 5)
    assert not pair.settled
    pair.hear(b"[Mon Nov 23 03:34:00 2026] ts0: (@0005 hi)\n" * 2, 6, None)
    assert pair.settled
    assert pair.room() == 2


def test_a_pair_is_settled_once_the_partner_got_all_and_the_sender_knows() -> None:
    pair = met(4)
    pair.say(2, 5)
    pair.hear(msgs(1, 2), 6, None)
    assert not pair.settled
    pair.sender.feed(b'{"type":"ack","id":2,"chat":"c"}\n')
    assert pair.settled


def test_lines_cut_anywhere_are_each_heard_once() -> None:
    pair, latencies = met(256), Histogram()
    pair.say(3, 5)
    for byte in msgs(1, 3):
        pair.hear(bytes([byte]), 9, latencies)
    assert pair.receiver.received == 3
    assert latencies.counts == {4: 3}


def test_a_single_acknowledgement_answers_a_whole_read() -> None:
    pair = met(4, acks=True)
    assert pair.hear(msgs(1, 3), 6, None) == b'{"type":"ack","id":3}\n'
    assert pair.hear(b'{"type":"pong"}\n', 6, None) == b""


@pytest.mark.parametrize(
    "line", [b'{"type":"error","code":"rate_limited","id":3}\n', b'{"type":"left","reason":"lost"}\n']
)
def test_after_a_complaint_nothing_more_is_said(line: bytes) -> None:
    pair = met(4)
    pair.sender.feed(line)
    assert pair.room() == 0
    assert pair.sender.complaints.total() == 1


def test_a_request_that_is_not_possible_right_now_is_made_again_but_a_message_is_not() -> None:
    unavailable = b'{"type":"error","code":"unavailable"}\n'
    pair = Pair(0, "t", Json(acks=False), in_flight=4, answers=True)
    pair.sender.feed(unavailable)
    assert pair.sender.later
    assert pair.sender.stage is Stage.GREETING
    chatting = met(4)
    chatting.sender.feed(unavailable)
    assert chatting.room() == 0
    assert dict(chatting.sender.complaints) == {"unavailable": 1}


def test_a_line_without_end_is_no_relay() -> None:
    pair = met(4)
    pair.receiver.feed(b"x" * (MAX_LINE + 1))
    assert pair.receiver.stage is Stage.ENDED
