"""The client's protocol, in literal bytes."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairchat import (
    Bye,
    ClientProtocol,
    Complaint,
    DeliveryStatus,
    Event,
    Joined,
    Left,
    Lost,
    Message,
    NameLost,
    NotARelay,
    Paired,
    Presence,
    Refused,
    Settled,
)
from pairchat.frame_decoder import MAX_NODE_LINE
from pairchat.frame_handlers import _HANDLERS  # private: the table itself is what is tested
from relay.configuration.config import MAX_LINE_BYTES
from relay.protocol.json_frames import NodeFrame
from tests.cli.scripted import WELCOME
from tests.cli.wire import PAIRED, PONG, chatting, code, error, joined
from tests.support.rows import each_row

# --- the name


def test_every_frame_of_a_node_is_understood() -> None:
    assert set(_HANDLERS) == set(get_args(NodeFrame))


def test_a_name_is_claimed_and_the_token_kept() -> None:
    protocol = ClientProtocol()
    claim = protocol.claim("alice")
    assert protocol.data_to_send() == b'{"type":"hello","v":1,"name":"alice","acks":true}\n'
    assert protocol.data_to_send() == b""
    told = protocol.feed((WELCOME % ("Alice", 2, 9, 5)).encode() + b"\n")
    assert told == [Joined("Alice", "n1", False)]
    assert claim.outcome == told[0]
    assert (protocol.name, protocol.token, protocol.node, protocol.ping_every) == ("Alice", "t0", "n1", 5)


def test_a_claim_and_a_resume_bring_what_proves_the_name_as_it_is_then() -> None:
    proofs = iter(["p1", "p2", "p3"])
    protocol = ClientProtocol(proof=lambda: next(proofs))
    protocol.claim("alice")
    assert protocol.data_to_send() == b'{"type":"hello","v":1,"name":"alice","acks":true,"auth":"p1"}\n'
    protocol.feed((WELCOME % ("alice", 2, 9, 5)).encode() + b"\n")
    protocol.connection_lost("gone")
    protocol.reconnect()
    assert b'"token":"t0","sent":0,"auth":"p2"' in protocol.data_to_send()
    protocol.feed(error("bad_token"))
    assert protocol.data_to_send() == b'{"type":"hello","v":1,"name":"alice","acks":true,"auth":"p3"}\n'


def test_a_name_without_proof_is_refused() -> None:
    protocol = ClientProtocol()
    claim = protocol.claim("alice")
    protocol.feed(error("bad_token", ',"name":"alice"'))
    assert code(claim) == "bad_token"


def test_a_session_whose_proof_is_no_good_any_more_is_lost_and_not_asked_for_again_and_again() -> None:
    protocol = joined()
    protocol.connection_lost("gone")
    protocol.reconnect()
    protocol.feed(error("bad_token"))
    protocol.data_to_send()
    told = protocol.feed(error("bad_token"))
    assert told == [Lost("bad_token", "no")]
    assert protocol.data_to_send() == b""
    assert protocol.name is None


def test_a_refused_name_leaves_room_for_another_claim() -> None:
    protocol = ClientProtocol()
    first = protocol.claim("alice")
    assert protocol.feed(error("name_taken", ',"name":"alice"')) == []
    assert code(first) == "name_taken"
    second = protocol.claim("alina")
    protocol.feed((WELCOME % ("alina", 2, 9, 5)).encode() + b"\n")
    assert isinstance(second.outcome, Joined)


def test_nothing_can_be_asked_without_a_name() -> None:
    with pytest.raises(NameLost):
        ClientProtocol().call("bob")


def test_a_name_that_is_no_unicode_text_is_refused_here() -> None:
    with pytest.raises(Refused, match="Unicode"):
        ClientProtocol().claim("\udcff")


def test_a_lost_name_settles_everything_and_another_can_be_claimed() -> None:
    protocol = chatting()
    text = protocol.send("hi")
    leave = protocol.leave()
    told = protocol.feed(error("name_lost"))
    assert told == [Settled(text), Lost("name_lost", "no")]
    assert (text.fate, text.detail) == (DeliveryStatus.UNCONFIRMED, "name_lost")
    assert isinstance(leave.outcome, NameLost)
    assert (protocol.name, protocol.token, protocol.partner) == (None, None, None)
    claim = protocol.claim("alice")
    protocol.feed(error("bad_frame") + (WELCOME % ("alice", 2, 9, 5)).encode() + b"\n")  # the `leave` came too late
    assert isinstance(claim.outcome, Joined)


# --- calls


def test_a_call_is_answered_by_the_pairing() -> None:
    protocol = joined()
    call = protocol.call("bob")
    assert protocol.data_to_send() == b'{"type":"to","name":"bob"}\n{"type":"ping"}\n'
    assert protocol.feed(PAIRED) == [Paired("bob", "c1", "client")]
    assert call.outcome == Paired("bob", "c1", "client")
    assert protocol.partner == "bob"


@each_row("refusal", ["no_such_user", "busy", "away", "self_chat", "unavailable", "name_invalid"])
def test_a_call_is_refused_with_the_code(refusal: str) -> None:
    protocol = joined()
    call = protocol.call("bob")
    assert protocol.feed(error(refusal, ',"name":"bob"') + PONG) == []
    assert code(call) == refusal
    assert protocol.partner is None


def test_somebody_elses_call_is_not_taken_for_the_answer_to_ours() -> None:
    protocol = joined()
    call = protocol.call("bob")
    protocol.feed(b'{"type":"paired","name":"carol","chat":"c0","acks":"node","resumed":false}\n')
    assert call.outcome is None
    protocol.feed(b'{"type":"left","name":"carol","reason":"left"}\n' + PAIRED)
    assert call.outcome == Paired("bob", "c1", "client")
    assert protocol.partner == "bob"


def test_a_partner_told_in_another_spelling_answers_the_call_at_the_pong() -> None:
    protocol = joined()
    call = protocol.call("rn")
    protocol.feed(b'{"type":"paired","name":"m","chat":"c1","acks":"node","resumed":false}\n')
    assert call.outcome is None
    protocol.feed(PONG)
    assert call.outcome == Paired("m", "c1", "node")


def test_a_spelling_that_is_surely_the_same_needs_no_pong() -> None:
    protocol = joined()
    call = protocol.call("ＢＯＢ")
    protocol.feed(PAIRED)
    assert call.outcome == Paired("bob", "c1", "client")


def test_a_pong_that_overtakes_a_waiting_switch_does_not_end_it() -> None:
    protocol = chatting()
    protocol.send("hi")
    call = protocol.call("rn")
    protocol.feed(PONG)
    assert call.outcome is None
    protocol.feed(
        b'{"type":"ack","id":1,"chat":"c1"}\n{"type":"left","name":"bob","reason":"left"}\n'
        b'{"type":"paired","name":"m","chat":"c2","acks":"node","resumed":false}\n'
    )
    assert call.outcome == Paired("m", "c2", "node")


def test_leaving_ends_the_chat_and_keeps_the_name() -> None:
    protocol = chatting()
    leave = protocol.leave()
    assert protocol.data_to_send() == b'{"type":"leave","chat":"c1"}\n'
    assert protocol.feed(b'{"type":"left","name":"bob","reason":"left"}\n') == [Left("bob", "left", "c1")]
    assert leave.outcome == Left("bob", "left", "c1")
    assert (protocol.name, protocol.partner, protocol.chat) == ("alice", None, None)


def test_a_partner_who_leaves_first_answers_our_leave_and_the_stray_error_hurts_nobody() -> None:
    protocol = chatting()
    leave = protocol.leave()
    protocol.feed(b'{"type":"left","name":"bob","reason":"quit"}\n')
    assert leave.outcome == Left("bob", "quit", "c1")
    call = protocol.call("carol")
    assert protocol.feed(error("not_paired")) == []
    assert call.outcome is None


def test_leaving_nobody_is_refused() -> None:
    protocol = joined()
    leave = protocol.leave()
    protocol.feed(error("not_paired"))
    assert code(leave) == "not_paired"


def test_an_old_partners_farewell_does_not_end_the_new_chat() -> None:
    protocol = joined()
    protocol.feed(PAIRED + b'{"type":"left","name":"carol","reason":"left"}\n')
    assert protocol.partner == "bob"


def test_presence_is_asked_for() -> None:
    protocol = joined()
    who = protocol.who("bob")
    assert protocol.data_to_send() == b'{"type":"who","name":"bob"}\n'
    protocol.feed(b'{"type":"presence","name":"bob","state":"away"}\n')
    assert who.outcome == Presence("bob", "away")


def test_quitting_is_answered_by_bye() -> None:
    protocol = joined()
    quit = protocol.quit()
    assert protocol.data_to_send() == b'{"type":"quit"}\n'
    assert protocol.feed(b'{"type":"bye"}\n') == [Bye()]
    assert quit.outcome == Bye()
    assert protocol.name is None


def test_quitting_twice_is_quitting_once() -> None:
    protocol = joined()
    assert protocol.quit() is protocol.quit()
    assert protocol.data_to_send() == b'{"type":"quit"}\n'


def test_a_refused_ping_is_no_answer_to_a_call() -> None:
    protocol = joined()
    protocol.ping()
    call = protocol.call("bob")
    protocol.feed(error("rate_limited"))
    assert call.outcome is None
    protocol.feed(PAIRED)
    assert isinstance(call.outcome, Paired)


def test_an_error_about_nothing_that_was_asked_is_told() -> None:
    assert joined().feed(error("unavailable")) == [Complaint("unavailable", "no")]


# --- texts that come in

HI = b'{"type":"msg","id":4,"from":"bob","chat":"c1","text":"hi","at":1795404840.5}\n'


def test_a_text_is_told_and_acknowledged_once() -> None:
    protocol = chatting()
    [message] = protocol.feed(HI)
    assert message == Message(4, "bob", "c1", "hi", 1795404840.5)
    assert protocol.data_to_send() == b""
    protocol.acknowledge(message)
    protocol.acknowledge(message)
    assert protocol.data_to_send() == b'{"type":"ack","id":4,"chat":"c1"}\n'


def test_a_text_that_comes_again_is_not_told_again_but_acknowledged_again() -> None:
    protocol = chatting()
    [message] = protocol.feed(HI)
    assert isinstance(message, Message)
    assert protocol.feed(HI) == []
    assert protocol.data_to_send() == b""
    protocol.acknowledge(message)
    protocol.data_to_send()
    assert protocol.feed(HI) == []
    assert protocol.data_to_send() == b'{"type":"ack","id":4,"chat":"c1"}\n'


def test_a_text_of_a_chat_that_is_over_is_neither_told_nor_acknowledged() -> None:
    protocol = chatting()
    [message] = protocol.feed(HI)
    assert isinstance(message, Message)
    protocol.feed(b'{"type":"left","name":"bob","reason":"quit"}\n')
    assert protocol.feed(HI.replace(b'"id":4', b'"id":5')) == []
    protocol.acknowledge(message)
    assert protocol.data_to_send() == b""


def test_a_new_chat_counts_the_partners_ids_anew() -> None:
    protocol = chatting()
    protocol.feed(HI)
    protocol.feed(b'{"type":"paired","name":"carol","chat":"c2","acks":"node","resumed":false}\n')
    [message] = protocol.feed(b'{"type":"msg","id":1,"from":"carol","chat":"c2","text":"yo","at":1}\n')
    assert isinstance(message, Message)
    protocol.acknowledge(message)
    assert protocol.data_to_send() == b'{"type":"ack","id":1,"chat":"c2"}\n'


# --- bytes


@each_row("line", [b"OK\n", b"HTTP/1.1 400 Bad Request\r\n", b"[]\n", b'{"type":"msg"}\n', b"\xff\n", b"{}\n"])
def test_an_answer_that_no_relay_gives_is_noticed(line: bytes) -> None:
    with pytest.raises(NotARelay, match="does not answer like a relay"):
        joined().feed(line)


def test_frames_and_fields_of_a_newer_relay_are_ignored() -> None:
    assert joined().feed(b'{"type":"weather","name":"bob"}\n{"type":"back","name":"bob","mood":"fine"}\n') != []


def test_the_longest_line_of_a_node_is_one_it_can_be_made_to_send() -> None:
    """The node has the largest `--max-line`, and each byte of the text is escaped."""
    _, longest = MAX_LINE_BYTES
    assert longest * len("\\u0001") + 512 == MAX_NODE_LINE


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    protocol = joined()
    with pytest.raises(NotARelay, match="without an end"):
        protocol.feed(b"{" * (MAX_NODE_LINE + 1))


CONVERSATION = (
    PAIRED
    + HI
    + '{"type":"msg","id":5,"from":"bob","chat":"c1","text":"日本\\n\\u001b[m👋","at":1}\n'.encode()
    + b'{"type":"ack","id":1,"chat":"c1"}\n{"type":"away","name":"bob","grace":30}\n{"type":"back","name":"bob"}\n'
    + b'{"type":"left","name":"bob","reason":"lost"}\n{"type":"moving"}\n'
)


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=20).map(sorted))
def test_bytes_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    protocol, whole = joined(), joined()
    told: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(CONVERSATION)], strict=True):
        told += protocol.feed(CONVERSATION[start:end])
    assert told == whole.feed(CONVERSATION)
    assert len(told) == 7
