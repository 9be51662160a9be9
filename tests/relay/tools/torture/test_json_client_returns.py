"""A JSON user of `relay torture` that loses its connection and comes back, or quits."""

import pytest

from relay.protocol.errors import Code
from relay.tools.torture.history import End, History
from relay.tools.torture.json_client import JsonClient
from tests.relay.tools.torture.ann import (
    BACK,
    HELLO,
    LEFT,
    PAIRED,
    WELCOME,
    ack,
    error,
    msg,
    outcomes,
    paired,
    said,
    unconfirmed,
    welcomed,
)

# --- coming back


def cut_off(*answers: bytes, talk: int = 3) -> tuple[JsonClient, History]:
    """Return ann in a chat, with this many messages sent and bob's up to 4 received, and without a connection."""
    ann, history = paired()
    ann.feed(msg(4), 3.0)
    for _ in range(talk):
        ann.say(3.0)
    for answer in answers:
        ann.feed(answer, 3.0)
    ann.closed(4.0)
    return ann, history


def resume(sent: int, last: int = 4) -> bytes:
    return HELLO[:-2] + f',"token":"t1","chat":"c1","sent":{sent},"last":{last}}}\n'.encode()


def paired_again(last: int) -> bytes:
    return f'{{"type":"paired","name":"bob","chat":"c1","acks":"client","resumed":true,"last":{last}}}\n'.encode()


def test_a_program_comes_back_by_its_token_with_what_it_said_and_heard() -> None:
    ann, history = cut_off()
    assert not ann.ready
    assert ann.opened(1) == resume(sent=3)
    assert not ann.ready
    ann.feed(BACK, 5.0)
    connections = history.sessions[0].connections
    assert [(c.node, c.span.began, c.span.ended) for c in connections] == [(0, 1.0, 4.0), (1, 5.0, float("inf"))]
    assert not history.oddities


def test_a_user_who_comes_back_says_again_in_order_what_has_no_outcome() -> None:
    ann, history = cut_off(ack(1))
    ann.opened(1)
    assert ann.feed(BACK, 5.0) == b""  # the partner's last message isn't known yet
    assert ann.feed(paired_again(2), 5.0) == said(3)
    assert ann.ready
    assert outcomes(history) == [["acked"], ["acked"], []]


def test_a_user_who_comes_back_says_messages_again_also_when_the_chat_is_over() -> None:
    ann, history = cut_off()
    ann.opened(1)
    assert ann.feed(BACK + LEFT, 5.0) == said(1, 2, 3)
    ann.feed(unconfirmed(1, 3, "quit"), 5.0)
    assert ann.settled
    assert outcomes(history) == [["quit"]] * 3


def test_the_chat_that_is_over_is_named() -> None:
    """A node that doesn't know of the end would continue the chat, and repeat its messages."""
    ann, _ = paired()
    ann.feed(LEFT, 3.0)
    ann.closed(4.0)
    assert ann.opened(1) == HELLO[:-2] + b',"token":"t1","sent":0,"left":"c1"}\n'
    ann.feed(BACK + PAIRED.replace(b"c1", b"c2") + PAIRED.replace(b"c1", b"c3"), 5.0)
    ann.closed(6.0)
    assert ann.opened(1) == HELLO[:-2] + b',"token":"t1","chat":"c3","sent":0,"left":"c2"}\n'


def test_a_user_says_nothing_again_within_a_connection() -> None:
    ann, _ = paired()
    ann.say(3.0)
    assert ann.feed(LEFT, 4.0) == b""


def test_a_program_without_a_chat_is_back_with_its_welcome() -> None:
    ann, _ = welcomed()
    ann.closed(4.0)
    assert ann.opened(1) == HELLO[:-2] + b',"token":"t1","sent":0}\n'
    ann.feed(BACK, 5.0)
    assert ann.ready


@pytest.mark.parametrize("welcome", [WELCOME, BACK.replace(b"t1", b"t2")])
def test_a_user_must_come_back_to_its_own_session(welcome: bytes) -> None:
    ann, history = cut_off()
    ann.opened(1)
    ann.feed(welcome, 5.0)
    assert len(history.oddities) == 1


def test_a_bad_token_ends_the_session_and_a_new_one_is_asked_for() -> None:
    ann, history = cut_off()
    ann.opened(1)
    assert ann.feed(error(Code.BAD_TOKEN), 6.0) == HELLO
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.FORGOTTEN, 6.0)
    ann.feed(WELCOME, 7.0)
    assert len(history.sessions) == 2
    assert ann.settled  # messages of the old session are not sent in the new one


def test_a_user_can_have_been_replaced_only_by_its_own_earlier_try_that_had_no_answer() -> None:
    ann, history = paired()
    ann.closed(3.0)
    ann.opened(1)
    ann.closed(4.0)
    ann.opened(2)
    ann.feed(b'{"type":"replaced"}\n', 4.5)
    assert not history.oddities
    ann.closed(4.6)
    ann.opened(0)
    ann.feed(b'{"type":"replaced"}\n', 5.0)
    assert len(history.oddities) == 1


def test_another_connection_cannot_have_replaced_that_of_a_user() -> None:
    ann, history = paired()
    ann.feed(b'{"type":"replaced"}\n', 3.0)
    assert len(history.oddities) == 1


def test_a_lost_name_ends_the_session_and_what_follows_is_not_looked_at() -> None:
    ann, history = paired()
    ann.feed(error(Code.NAME_LOST) + error(Code.BAD_FRAME), 3.0)
    assert history.sessions[0].end is End.NAME_LOST
    assert ann.refused
    assert ann.view() is None
    assert not history.oddities


# --- leaving


def test_good_bye_ends_the_session_from_when_it_was_asked_for() -> None:
    ann, history = paired()
    assert ann.quit(3.0) == b'{"type":"quit"}\n'
    ann.feed(b'{"type":"bye"}\n', 4.0)
    assert ann.done
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.QUIT, 3.0)


def test_good_bye_before_an_outcome_is_odd() -> None:
    ann, history = paired()
    ann.say(3.0)
    ann.quit(3.0)
    ann.feed(b'{"type":"bye"}\n', 4.0)
    assert history.oddities == ["ann: good-bye before the outcome of 1 messages"]


def test_a_quit_whose_answer_was_cut_off_is_not_resumed() -> None:
    ann, history = paired()
    ann.quit(3.0)
    ann.closed(4.0)
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.BROKEN, 3.0)
    assert ann.opened(1) == HELLO


def test_a_user_who_gives_up_has_no_session_any_more() -> None:
    ann, history = paired()
    ann.give_up(5.0)
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.BROKEN, 5.0)
