"""A JSON user of `relay torture`, byte by byte."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from relay.protocol.errors import Code
from relay.tools.torture.history import Kind
from relay.tools.torture.json_client import PENDING
from relay.tools.torture.user_moves import Move
from tests.relay.tools.torture.ann import (
    BACK,
    HELLO,
    LEFT,
    PAIRED,
    WELCOME,
    ack,
    error,
    fresh,
    msg,
    outcomes,
    paired,
    said,
    unconfirmed,
    welcomed,
)
from tests.relay.tools.torture.first import First
from tests.support.rows import each_row

# --- the name


def test_a_program_says_hello_and_has_a_session_once_it_is_welcomed() -> None:
    ann, history = fresh()
    assert ann.opened(2) == HELLO
    assert not ann.ready
    ann.feed(WELCOME[:20], 1.0)
    assert not ann.ready  # a line arrives in pieces
    ann.feed(WELCOME[20:], 1.5)
    assert ann.ready
    session = history.sessions[0]
    assert (session.name, session.kind, session.span.began) == ("ann", Kind.PROGRAM, 1.5)
    assert [connection.node for connection in session.connections] == [2]
    assert not history.oddities


def test_a_lazy_program_leaves_acknowledging_to_its_node() -> None:
    ann, history = fresh(Kind.LAZY)
    assert b"acks" not in ann.opened(0)
    ann.feed(WELCOME + PAIRED, 1.0)
    assert ann.feed(msg(1), 2.0) == b""
    assert len(history.heard) == 1


@pytest.mark.parametrize("code", [Code.NAME_TAKEN, Code.UNAVAILABLE])
def test_a_name_that_cannot_be_had_now_is_no_fault(code: Code) -> None:
    ann, history = fresh()
    ann.opened(0)
    ann.feed(error(code), 1.0)
    assert ann.refused
    assert not ann.ready
    assert not history.oddities


def test_a_stranger_must_not_be_given_somebodys_session() -> None:
    ann, history = fresh()
    ann.opened(0)
    ann.feed(BACK, 1.0)
    assert history.oddities == ["ann: resumed a session that isn't ours"]


# --- chats


def test_messages_that_are_heard_are_acknowledged_and_recorded() -> None:
    ann, history = paired()
    assert ann.feed(msg(1) + msg(2), 3.0) == b'{"type":"ack","id":2,"chat":"c1"}\n'
    assert [(h.key, h.session, h.chat, h.sender, h.at, h.id) for h in history.heard] == [
        ("bob/1/1", 0, "c1", "bob", 3.0, 1),
        ("bob/1/2", 0, "c1", "bob", 3.0, 2),
    ]


def test_an_acknowledgement_may_wait_for_the_next_move() -> None:
    class Late(Random):
        def random(self) -> float:
            return 0.9

    ann, _ = fresh(rng=Late())
    ann.opened(0)
    assert ann.feed(WELCOME + PAIRED + msg(1), 1.0) == b""
    assert ann.nudge() == b'{"type":"ack","id":1,"chat":"c1"}\n{"type":"ping"}\n'
    assert ann.nudge() == b'{"type":"ping"}\n'


@pytest.mark.parametrize("frame", [msg(1, chat="c0"), msg(1, sender="carol")])
def test_a_message_of_another_chat_is_odd(frame: bytes) -> None:
    ann, history = paired()
    ann.feed(frame, 3.0)
    assert len(history.oddities) == 1


def test_an_id_that_comes_again_is_odd() -> None:
    ann, history = paired()
    ann.feed(msg(2) + msg(1), 3.0)
    assert history.oddities == ["ann: id 1 of bob after 2"]


def test_each_chat_numbers_anew_what_is_heard() -> None:
    ann, history = paired()
    ann.feed(msg(7) + LEFT + PAIRED.replace(b"c1", b"c2") + msg(1, chat="c2"), 3.0)
    assert not history.oddities


def test_the_end_of_a_chat_is_recorded() -> None:
    ann, history = paired()
    ann.feed(LEFT, 5.0)
    parted = history.parted[0]
    assert (parted.partner, parted.chat, parted.reason, parted.since, parted.at) == ("bob", "c1", "quit", 2.0, 5.0)
    view = ann.view()
    assert view is not None
    assert view.partner == ""


def test_the_end_of_a_chat_is_recorded_with_whether_the_user_asked_for_it() -> None:
    ann, history = paired()
    ann.feed(LEFT, 3.0)
    ann.feed(PAIRED, 3.0)
    ann.call("carol")
    ann.feed(error(Code.BUSY, name='"carol"'), 3.0)
    ann.feed(LEFT, 4.0)
    ann.feed(PAIRED, 4.0)
    ann.call("carol")
    ann.closed(5.0)  # the node may carry the call out, and its answer is lost
    ann.opened(1)
    ann.feed(BACK + LEFT, 6.0)
    ann.feed(PAIRED + LEFT, 7.0)  # bob's call may come before it
    ann.feed(PAIRED.replace(b"bob", b"carol") + LEFT, 8.0)
    assert [parted.asked for parted in history.parted] == [False, False, True, True, False]


def test_requests_are_answered_in_order() -> None:
    class Leaving(First):
        def choices(self, *_: Any, **__: Any) -> list[Any]:
            return [Move.LEAVE]

    ann, history = fresh(rng=Leaving())
    ann.opened(0)
    ann.feed(WELCOME, 1.0)
    ann.call("carol")
    ann.feed(PAIRED, 2.0)  # bob called first
    assert ann.act(3.0) == (b'{"type":"leave"}\n', Move.LEAVE)
    ann.feed(error(Code.BUSY, name='"carol"'), 4.0)
    ann.feed(LEFT + PAIRED, 5.0)
    ann.feed(error(Code.NOT_PAIRED), 6.0)  # so bob had left first
    ann.feed(LEFT, 7.0)
    assert [parted.asked for parted in history.parted] == [True, False]


# --- outcomes


def test_each_message_has_a_number_and_a_text_of_its_own() -> None:
    ann, history = paired()
    assert ann.say(3.0) == said(1)
    assert ann.act(3.5) == (said(2), Move.SAY)
    assert [(s.key, s.to, s.chat, s.id) for s in history.said.values()] == [
        ("ann/0/1", "bob", "c1", 1),
        ("ann/0/2", "bob", "c1", 2),
    ]
    assert not ann.settled


def test_an_acknowledgement_covers_all_messages_up_to_it() -> None:
    ann, history = paired()
    for _ in range(3):
        ann.say(3.0)
    ann.feed(ack(2), 4.0)
    assert outcomes(history) == [["acked"], ["acked"], []]
    ann.feed(ack(3), 4.0)
    assert ann.settled


def test_an_acknowledgement_of_another_chat_covers_nothing() -> None:
    ann, history = paired()
    ann.say(3.0)
    ann.feed(ack(1, "c0"), 4.0)
    assert outcomes(history) == [[]]


def test_unconfirmed_names_the_reason() -> None:
    ann, history = paired()
    for _ in range(3):
        ann.say(3.0)
    ann.feed(ack(1) + unconfirmed(2, 3, "left"), 4.0)
    assert outcomes(history) == [["acked"], ["left"], ["left"]]
    assert ann.settled


def test_a_contradiction_is_recorded() -> None:
    ann, history = paired()
    ann.say(3.0)
    ann.feed(ack(1) + unconfirmed(1, 1), 4.0)
    assert outcomes(history) == [["acked", "lost"]]


def test_an_outcome_told_again_is_no_contradiction() -> None:
    ann, history = paired()
    ann.say(3.0)
    ann.feed(ack(1) + ack(1), 4.0)
    assert outcomes(history) == [["acked"]]


def test_a_full_window_takes_neither_the_message_nor_those_behind_it() -> None:
    ann, history = paired()
    for _ in range(3):
        ann.say(3.0)
    full = error(Code.WINDOW_FULL, id=2) + error(Code.BAD_ORDER, id=3, expected=2)
    assert ann.feed(full, 4.0) == b""
    assert list(history.said) == ["ann/0/1"]
    assert ann.say(5.0) == b'{"type":"msg","id":2,"text":"ann/0/4 ","chat":"c1"}\n'
    assert not history.oddities


def test_a_message_in_order_must_not_be_out_of_order() -> None:
    ann, history = paired()
    ann.say(3.0)
    ann.feed(error(Code.BAD_ORDER, id=1, expected=5), 4.0)
    assert history.oddities == ["ann: bad_order for id 1, expected 5"]


def test_a_program_stops_talking_while_too_much_is_under_way() -> None:
    ann, _ = paired()
    for _ in range(PENDING):
        ann.say(3.0)
    assert ann.act(4.0) == (b"", Move.IDLE)


# --- refusals


@each_row("code", [Code.UNAVAILABLE, Code.BUSY, Code.AWAY, Code.NO_SUCH_USER, Code.NOT_PAIRED, Code.SELF_CHAT])
def test_a_refused_call_says_how_things_are(code: Code) -> None:
    ann, history = welcomed()
    assert ann.call("bob") == b'{"type":"to","name":"bob"}\n'
    assert ann.act(2.0) == (b"", Move.IDLE)  # one call at a time
    ann.feed(error(code, name='"bob"'), 3.0)
    assert ann.act(4.0) == (b'{"type":"to","name":"bob"}\n', Move.CALL)
    assert not history.oddities


@each_row("code", [Code.BAD_FRAME, Code.BAD_VERSION, Code.TOO_LONG, Code.NAME_TAKEN, Code.BAD_TOKEN])
def test_other_refusals_are_odd(code: Code) -> None:
    ann, history = welcomed()
    ann.feed(error(code), 3.0)
    assert len(history.oddities) == 1


FRAMES: Sequence[bytes] = [
    b'{"type":"pong"}\n',
    b'{"type":"away","name":"bob","grace":8}\n',
    b'{"type":"back","name":"bob"}\n',
]


def test_from_a_node_that_goes_away_some_go_at_once_and_some_stay() -> None:
    ann, _ = welcomed(rng=Random(1))
    going = set()
    for _ in range(20):
        assert ann.feed(b'{"type":"moving"}\n', 3.0) == b""
        assert ann.ready
        going.add(ann.refused)
    assert going == {True, False}


@pytest.mark.parametrize("frame", FRAMES)
def test_some_news_change_nothing(frame: bytes) -> None:
    ann, history = paired()
    before = ann.view()
    assert ann.feed(frame, 3.0) == b""
    assert ann.ready
    assert ann.view() == before
    assert not history.oddities
