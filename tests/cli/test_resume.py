"""The lines of a session after it lost its connection, in literal bytes."""

import pytest

from pairchat import (
    ClientProtocol,
    DeliveryStatus,
    Dropped,
    Expired,
    Joined,
    Left,
    Lost,
    Message,
    NameLost,
    NotARelay,
    Paired,
    Refused,
    Settled,
)
from pairchat.saved_session import BadMemory, Said, SessionState, decode, encode
from tests.cli.scripted import WELCOME
from tests.cli.wire import PAIRED, PONG, chatting, error, joined, said
from tests.support.rows import each_row

HELLO = b'{"type":"hello","v":1,"name":"alice","acks":true'
BACK = (WELCOME % ("alice", 256, 1_048_576, 30)).encode().replace(b'"resumed":false', b'"resumed":true') + b"\n"
FRESH = (WELCOME % ("alice", 256, 1_048_576, 30)).encode() + b"\n"
PING = b'{"type":"ping"}\n'
HI = b'{"type":"msg","id":4,"from":"bob","chat":"c1","text":"hi","at":1}\n'


def repaired(last: int, chat: str = "c1") -> bytes:
    return b'{"type":"paired","name":"bob","chat":"%s","acks":"client","resumed":true,"last":%d}\n' % (
        chat.encode(),
        last,
    )


def left(name: str, reason: str) -> bytes:
    return f'{{"type":"left","name":"{name}","reason":"{reason}"}}\n'.encode()


def cut(protocol: ClientProtocol) -> None:
    protocol.data_to_send()
    assert protocol.connection_lost("gone") == [Dropped("gone")]
    protocol.reconnect()


def test_the_token_is_shown_with_what_is_known() -> None:
    protocol = joined()
    cut(protocol)
    assert protocol.data_to_send() == HELLO + b',"token":"t0","sent":0}\n'
    protocol = chatting()
    protocol.send("a")
    [message] = protocol.feed(HI)
    assert isinstance(message, Message)
    protocol.acknowledge(message)
    cut(protocol)
    assert protocol.data_to_send() == HELLO + b',"token":"t0","chat":"c1","sent":1,"last":4,"at":1.0}\n'


def test_a_text_that_is_still_being_dealt_with_is_asked_for_again_and_not_told_again() -> None:
    protocol = chatting()
    [message] = protocol.feed(HI)
    assert isinstance(message, Message)
    cut(protocol)
    assert protocol.data_to_send() == HELLO + b',"token":"t0","chat":"c1","sent":0}\n'
    assert [type(event) for event in protocol.feed(BACK + repaired(0) + HI)] == [Joined, Paired]
    protocol.data_to_send()
    protocol.acknowledge(message)
    assert protocol.data_to_send() == b'{"type":"ack","id":4,"chat":"c1"}\n'


def test_texts_without_an_outcome_go_again_in_order_and_before_anything_new() -> None:
    protocol = chatting()
    texts = [protocol.send(text) for text in "abc"]
    cut(protocol)
    texts.append(protocol.send("d"))
    protocol.data_to_send()
    assert protocol.feed(BACK) == [Joined("alice", "n1", True)]
    assert protocol.data_to_send() == PING
    assert protocol.feed(repaired(1)) == [Paired("bob", "c1", "client", True), Settled(texts[0])]
    texts.append(protocol.send("e"))
    assert protocol.data_to_send() == b""  # not before the outcomes are known
    protocol.feed(PONG)
    assert protocol.data_to_send() == said(2, "b") + said(3, "c") + said(4, "d") + said(5, "e")
    protocol.feed(b'{"type":"ack","id":5,"chat":"c1"}\n')
    assert [text.fate for text in texts] == [DeliveryStatus.DELIVERED] * 5


def test_refusals_that_were_under_way_do_not_confuse_the_next_connection() -> None:
    protocol = chatting()
    texts = [protocol.send(text) for text in "abc"]
    protocol.data_to_send()
    protocol.feed(error("window_full", ',"id":2'))  # the answer to 3 is lost
    cut(protocol)
    protocol.data_to_send()
    protocol.feed(BACK + repaired(0) + PONG)
    assert protocol.data_to_send() == PING + said(1, "a") + said(2, "b") + said(3, "c")
    assert [text.fate for text in texts] == [DeliveryStatus.PENDING] * 3
    with pytest.raises(NotARelay, match="count"):
        protocol.feed(error("bad_order", ',"id":3,"expected":2'))


def test_a_chat_that_ended_meanwhile_leaves_the_outcome_to_the_node_and_keeps_what_never_went() -> None:
    protocol = chatting()
    tried = protocol.send("a")
    cut(protocol)
    untried = protocol.send("b")
    protocol.data_to_send()
    assert protocol.feed(BACK + left("bob", "quit"))[1:] == [Left("bob", "quit", "c1")]
    assert protocol.feed(PONG) == [Settled(untried)]
    assert (untried.fate, untried.detail) == (DeliveryStatus.REFUSED, "not_sent")
    assert protocol.data_to_send() == PING + said(1, "a")
    protocol.feed(b'{"type":"unconfirmed","from":1,"to":1,"reason":"quit"}\n')
    assert tried.detail == "quit"
    protocol.feed(PAIRED.replace(b"c1", b"c2"))
    assert protocol.send("c").id == 3  # the node had received 2


def test_a_chat_that_nobody_remembers_is_told_under_the_partners_name() -> None:
    protocol = chatting()
    cut(protocol)
    assert protocol.feed(BACK + left("", "lost"))[1:] == [Left("bob", "lost", "c1")]
    assert protocol.partner is None


def test_ids_go_on_behind_what_the_partner_is_known_to_have() -> None:
    protocol = chatting()
    cut(protocol)
    protocol.feed(BACK + repaired(9) + PONG)
    assert protocol.send("next").id == 10


def test_questions_without_an_answer_are_asked_again() -> None:
    protocol = joined()
    call, who = protocol.call("bob"), protocol.who("carol")
    cut(protocol)
    leave = protocol.leave()
    protocol.data_to_send()
    protocol.feed(BACK + PONG)
    assert protocol.data_to_send() == (
        PING + b'{"type":"to","name":"bob"}\n' + PING + b'{"type":"who","name":"carol"}\n{"type":"leave"}\n'
    )
    protocol.feed(PAIRED)
    assert isinstance(call.outcome, Paired)
    assert (who.outcome, leave.outcome) == (None, None)


def test_a_call_that_was_answered_while_we_were_gone_is_not_made_again() -> None:
    protocol = joined()
    call = protocol.call("bob")
    cut(protocol)
    protocol.data_to_send()
    protocol.feed(BACK + repaired(0) + PONG)
    assert call.outcome == Paired("bob", "c1", "client", True)
    assert protocol.data_to_send() == PING


def test_a_pong_of_the_old_connection_is_not_waited_for() -> None:
    protocol = joined()
    protocol.ping()
    cut(protocol)
    protocol.feed(BACK + PONG)
    assert protocol.state.value == "online"


# --- sessions that can't be resumed


def test_a_session_that_is_gone_is_told_and_its_name_claimed_again() -> None:
    protocol = chatting()
    tried = protocol.send("a")
    leave = protocol.leave()
    cut(protocol)
    untried = protocol.send("b")
    protocol.data_to_send()
    told = protocol.feed(error("bad_token"))
    assert told == [Settled(tried), Settled(untried), Left("bob", "lost", "c1"), Expired("alice")]
    assert (tried.fate, tried.detail) == (DeliveryStatus.UNCONFIRMED, "lost")
    assert (untried.fate, untried.detail) == (DeliveryStatus.REFUSED, "not_sent")
    assert leave.outcome == Left("bob", "lost", "c1")
    assert protocol.data_to_send() == HELLO + b"}\n"
    assert protocol.feed(FRESH) == [Joined("alice", "n1", False)]
    protocol.feed(PAIRED)
    assert protocol.send("c").id == 1


def test_a_name_that_another_has_by_now_is_lost() -> None:
    protocol = joined()
    who = protocol.who("bob")
    cut(protocol)
    protocol.feed(error("bad_token"))
    assert protocol.feed(error("name_taken", ',"name":"alice"')) == [Lost("name_taken", "no")]
    assert isinstance(who.outcome, NameLost)
    assert protocol.claim("alina").outcome is None


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
def test_a_node_that_can_not_take_us_back_now_is_left_for_another(code: str) -> None:
    protocol = joined()
    cut(protocol)
    assert protocol.feed(error(code)) == []
    assert protocol.stranded
    assert protocol.connection_lost("elsewhere") == []  # one outage is reported once
    protocol.reconnect()
    assert not protocol.stranded
    assert HELLO + b',"token":"t0","sent":0}\n' in protocol.data_to_send()


def test_the_second_claim_survives_another_broken_connection() -> None:
    protocol = joined()
    cut(protocol)
    protocol.feed(error("bad_token"))
    protocol.connection_lost("gone")
    protocol.data_to_send()
    protocol.reconnect()
    assert protocol.data_to_send() == HELLO + b"}\n"


def test_a_node_that_goes_away_says_so() -> None:
    protocol = joined()
    protocol.feed(b'{"type":"moving"}\n')
    assert protocol.stranded


def test_the_chat_that_is_over_is_named() -> None:
    """Its node may have been killed before it could record the end."""
    protocol = chatting()
    protocol.feed(left("bob", "left"))
    cut(protocol)
    assert protocol.data_to_send() == HELLO + b',"token":"t0","sent":0,"left":"c1"}\n'
    protocol.feed(BACK + PONG + PAIRED.replace(b"c1", b"c2") + PAIRED.replace(b"c1", b"c3"))
    cut(protocol)
    assert protocol.data_to_send() == HELLO + b',"token":"t0","chat":"c3","sent":0,"left":"c2"}\n'
    assert protocol.memory is not None
    second = ClientProtocol()
    second.recall(decode(encode(protocol.memory)))
    assert second.data_to_send() == HELLO + b',"token":"t0","chat":"c3","sent":0,"left":"c2"}\n'
    second.feed(error("bad_token") + FRESH)
    cut(second)
    assert second.data_to_send().endswith(b',"token":"t0","sent":0}\n')


# --- in another process


def test_a_remembered_session_goes_on() -> None:
    first = chatting()
    first.send("a")
    [message] = first.feed(HI)
    assert isinstance(message, Message)
    first.acknowledge(message)
    first.data_to_send()
    memory = first.memory
    assert memory is not None
    second = ClientProtocol()
    claim = second.recall(decode(encode(memory)))
    assert second.data_to_send() == HELLO + b',"token":"t0","chat":"c1","sent":1,"last":4,"at":1.0}\n'
    assert [text.text for text in second.unacked_messages.pending] == ["a"]
    second.feed(BACK + repaired(0) + HI + PONG)
    assert claim.outcome == Joined("alice", "n1", True)
    assert second.data_to_send() == PING + b'{"type":"ack","id":4,"chat":"c1"}\n' * 2 + said(1, "a")


def test_a_remembered_session_that_is_gone_ends_in_a_new_one_or_a_refusal() -> None:
    memory = SessionState("alice", "t0", 1, "c1", "bob", "client", 0, (Said(1, "a", "c1", "client", True),))
    protocol = ClientProtocol()
    claim = protocol.recall(memory)
    [text] = protocol.unacked_messages.pending
    assert protocol.feed(error("bad_token")) == [Settled(text), Left("bob", "lost", "c1"), Expired("alice")]
    protocol.feed(FRESH)
    assert claim.outcome == Joined("alice", "n1", False)
    protocol = ClientProtocol()
    claim = protocol.recall(memory)
    protocol.feed(error("bad_token"))
    assert protocol.feed(error("name_taken", ',"name":"alice"')) == []
    assert isinstance(claim.outcome, Refused)


def test_there_is_nothing_to_remember_without_a_session() -> None:
    assert ClientProtocol().memory is None
    protocol = joined()
    protocol.quit()
    protocol.feed(b'{"type":"bye"}\n')
    assert protocol.memory is None


@each_row("data", [b"", b"[]", b"\xff", b'{"name":"a","token":"t","version":2}', b"[" * 100_000])
def test_an_unreadable_saved_session_is_refused(data: bytes) -> None:
    with pytest.raises(BadMemory):
        decode(data)
