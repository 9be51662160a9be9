"""The policy for calls, and the sign of typing, in literal bytes."""

import pytest

from pairchat import Blocked, ClientProtocol, Invited, Joined, Missed, Paired, Refused, Ringing, Typing
from tests.cli.scripted import WELCOME
from tests.cli.wire import PAIRED, PONG, chatting, code, error, joined

INVITED = b'{"type":"invited","name":"bob","chat":"c1","wait":30}\n'
MISSED = b'{"type":"missed","name":"bob","chat":"c1"}\n'


def test_calls_are_asked_about_on_demand() -> None:
    protocol = ClientProtocol(ask=True)
    protocol.claim("alice")
    assert protocol.data_to_send() == b'{"type":"hello","v":1,"name":"alice","acks":true,"ask":true}\n'
    protocol.feed((WELCOME % ("alice", 2, 9, 5)).encode() + b"\n")
    assert protocol.feed(INVITED) == [Invited("bob", "c1", 30)]
    accept = protocol.accept("c1")
    assert protocol.data_to_send() == b'{"type":"accept","chat":"c1"}\n'
    protocol.feed(PAIRED)
    assert accept.outcome == Paired("bob", "c1", "client")


@pytest.mark.parametrize("answer", [MISSED, error("not_called")])
def test_a_call_that_is_over_can_not_be_accepted(answer: bytes) -> None:
    protocol = joined()
    accept = protocol.accept("c1")
    protocol.feed(answer)
    assert isinstance(accept.outcome, Missed | Refused)


def test_declining_needs_no_answer_and_a_late_one_hurts_nobody() -> None:
    protocol = joined()
    who = protocol.who("bob")
    protocol.data_to_send()
    protocol.decline("c1")
    assert protocol.data_to_send() == b'{"type":"decline","chat":"c1"}\n'
    assert protocol.feed(MISSED + error("not_called")) == [Missed("bob", "c1")]
    assert who.outcome is None


def test_a_call_may_ring_and_be_given_up() -> None:
    protocol = joined()
    call = protocol.call("bob")
    protocol.data_to_send()
    assert protocol.feed(b'{"type":"ringing","name":"bob","wait":30}\n' + PONG) == [Ringing("bob", 30)]
    assert call.outcome is None
    protocol.cancel()
    assert protocol.data_to_send() == b'{"type":"cancel"}\n'
    protocol.feed(error("declined", ',"name":"bob"'))
    assert code(call) == "declined"


def test_names_are_blocked_and_said_again_after_a_resume() -> None:
    protocol = joined()
    block = protocol.block("bob")
    assert protocol.data_to_send() == b'{"type":"block","name":"bob"}\n'
    assert protocol.feed(b'{"type":"blocked","name":"bob"}\n') == [Blocked("bob", True)]
    assert block.outcome == Blocked("bob", True)
    protocol.block("carol")
    protocol.feed(b'{"type":"blocked","name":"carol"}\n')
    unblock = protocol.unblock("BOB")
    protocol.feed(b'{"type":"unblocked","name":"BOB"}\n')
    assert unblock.outcome == Blocked("BOB", False)
    assert protocol.memory is not None
    assert protocol.memory.blocked == ("carol",)
    protocol.connection_lost("gone")
    protocol.reconnect()
    protocol.data_to_send()
    protocol.feed((WELCOME % ("alice", 2, 9, 5)).replace("false", "true").encode() + b"\n" + PONG)
    assert protocol.data_to_send().endswith(b'{"type":"block","name":"carol"}\n')
    assert protocol.feed(b'{"type":"blocked","name":"carol"}\n') == []
    refused = protocol.block("{")
    protocol.feed(error("name_invalid", ',"name":"{"'))
    assert code(refused) == "name_invalid"


def test_typing_is_told_in_the_chat_and_nowhere_else() -> None:
    protocol = joined()
    protocol.typing()
    assert protocol.data_to_send() == b""
    protocol = chatting()
    protocol.typing()
    assert protocol.data_to_send() == b'{"type":"typing","chat":"c1"}\n'
    assert protocol.feed(b'{"type":"typing","name":"bob","chat":"c1"}\n') == [Typing("bob", "c1")]
    assert protocol.feed(b'{"type":"typing","name":"eve","chat":"c0"}\n') == []
    protocol.connection_lost("gone")
    protocol.typing()
    assert protocol.data_to_send() == b""


WELCOME_BACK = (WELCOME % ("alice", 256, 1_048_576, 30)).replace('"resumed":false', '"resumed":true').encode() + b"\n"
PAIRED_AWAY = PAIRED.replace(b'"resumed":false', b'"resumed":true')


def away_from(call_given_up: str, name: str = "bob") -> ClientProtocol:
    """Return a client whose connection was lost during its call, and that gave the call up before that or after."""
    protocol = joined()
    call = protocol.call(name)
    if call_given_up == "before":
        protocol.cancel()
    protocol.connection_lost("gone")
    if call_given_up == "after":
        protocol.cancel()
    assert (call.outcome is None) is (call_given_up == "never")
    protocol.reconnect()
    protocol.data_to_send()
    return protocol


@pytest.mark.parametrize("given_up", ["before", "after"])
def test_a_call_that_was_given_up_around_a_lost_connection_makes_no_chat(given_up: str) -> None:
    """Its node has not learnt that, and completed the call while the client was away."""
    protocol = away_from(given_up)
    assert [type(event) for event in protocol.feed(WELCOME_BACK + PAIRED_AWAY)] == [Joined]
    assert b'{"type":"leave","chat":"c1"}\n' in protocol.data_to_send()
    assert (protocol.partner, protocol.chat) == (None, None)
    assert protocol.feed(b'{"type":"left","name":"bob","reason":"left","chat":"c1"}\n' + PONG) == []
    protocol.call("bob")  # the program wants it again
    assert protocol.feed(PAIRED)[0] == Paired("bob", "c1", "client")


def test_another_chat_that_began_meanwhile_stays() -> None:
    protocol = away_from("after", "carol")
    assert protocol.feed(WELCOME_BACK + PAIRED_AWAY)[1:] == [Paired("bob", "c1", "client", True)]
    assert protocol.partner == "bob"


def test_the_chat_of_a_call_that_nobody_gave_up_stays() -> None:
    protocol = away_from("never")
    assert protocol.feed(WELCOME_BACK + PAIRED_AWAY)[1:] == [Paired("bob", "c1", "client", True)]
    assert protocol.partner == "bob"


def test_a_missed_call_answers_no_acceptance_of_another() -> None:
    protocol = joined()
    accept = protocol.accept("c2")
    assert protocol.feed(MISSED) == [Missed("bob", "c1")]
    assert accept.outcome is None
    protocol.feed(PAIRED.replace(b'"c1"', b'"c2"'))
    assert accept.outcome == Paired("bob", "c2", "client")
