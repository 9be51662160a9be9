"""The client against a node that tells the request of each answer, the chat, and the longest line."""

import json
from typing import Any

import pytest

from pairchat import (
    Blocked,
    ClientProtocol,
    Complaint,
    DeliveryStatus,
    Left,
    Missed,
    NotARelay,
    Outgoing,
    Paired,
    Presence,
    Refused,
    Ringing,
    Settled,
)
from tests.cli.scripted import WELCOME

MAX_LINE = 1024


def welcome(*, resumed: bool = False, max_line: int = MAX_LINE) -> bytes:
    line = (WELCOME % ("alice", 256, 1_048_576, 30))[:-1] + f',"max_line":{max_line}}}\n'
    return line.replace('"resumed":false', f'"resumed":{str(resumed).lower()}').encode()


def frame(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def paired(chat: str = "c1", name: str = "bob", **more: Any) -> bytes:
    return frame(**{"type": "paired", "name": name, "chat": chat, "acks": "client", "resumed": False, **more})


def refusal(code: str, **more: Any) -> bytes:
    return frame(type="error", code=code, message="no", **more)


def written(protocol: ClientProtocol) -> list[dict[str, Any]]:
    """Return the frames since the last call."""
    return [json.loads(line) for line in protocol.data_to_send().splitlines()]


@pytest.fixture
def alice() -> ClientProtocol:
    """Alice without a chat."""
    protocol = ClientProtocol()
    protocol.claim("alice")
    protocol.feed(welcome())
    protocol.data_to_send()
    return protocol


@pytest.fixture
def chatting(alice: ClientProtocol) -> ClientProtocol:
    alice.feed(paired())
    return alice


def resume(protocol: ClientProtocol, *rest: bytes, max_line: int = MAX_LINE) -> list[Any]:
    """Lose the connection, and resume on a new one."""
    protocol.connection_lost("gone")
    protocol.reconnect()
    protocol.data_to_send()
    return protocol.feed(b"".join([welcome(resumed=True, max_line=max_line), *rest, b'{"type":"pong"}\n']))


# --- requests


def test_each_answer_goes_to_the_request_that_it_is_for(alice: ClientProtocol) -> None:
    first, second = alice.who("zoe", ref="a"), alice.who("Zoe", ref=2)
    block, unblock, call = alice.block("eve", "b"), alice.unblock("eve", "u"), alice.call("bob", "c")
    marks = [said["ref"] for said in written(alice)]
    assert len(set(marks)) == 5
    told = alice.feed(
        frame(type="presence", name="Zoe", state="busy", ref=marks[1])
        + refusal("unavailable", name="zoe", ref=marks[0])
        + frame(type="blocked", name="eve", ref=marks[2])
        + frame(type="unblocked", name="eve", ref=marks[3])
        + frame(type="ringing", name="bob", wait=30, chat="c1", ref=marks[4])
        + paired("c0", "bob")  # bob called first, so this is another chat than the one that she asked for
        + paired("c1", "Bob", ref=marks[4])
    )
    assert told == [
        Presence("Zoe", "busy", 2),
        Blocked("eve", True, "b"),
        Blocked("eve", False, "u"),
        Ringing("bob", 30, "c1", "c"),
        Paired("bob", "c0", "client"),
        Paired("Bob", "c1", "client", False, "c"),
    ]
    assert isinstance(first.outcome, Refused)
    assert [request.outcome for request in (second, block, unblock, call)] == [told[0], told[1], told[2], told[5]]


def test_a_refusal_goes_to_the_request_that_it_is_for(alice: ClientProtocol) -> None:
    call, block, leave, accept = alice.call("bob"), alice.block("eve"), alice.leave(), alice.accept("c9")
    marks = [said["ref"] for said in written(alice)]
    for code, mark in zip(("too_many", "busy", "not_called", "not_paired"), (1, 0, 3, 2), strict=True):
        assert alice.feed(refusal(code, ref=marks[mark])) == []
    codes = [request.outcome.code for request in (call, block, leave, accept) if isinstance(request.outcome, Refused)]
    assert codes == ["busy", "too_many", "not_paired", "not_called"]


def test_an_acceptance_that_comes_too_late_is_told_with_its_ref(alice: ClientProtocol) -> None:
    accept = alice.accept("c9", "a")
    assert alice.feed(frame(type="missed", name="bob", chat="c9")) == [Missed("bob", "c9", "a")]
    assert accept.outcome == Missed("bob", "c9", "a")


def test_the_end_of_a_chat_is_told_from_that_of_the_next_one(chatting: ClientProtocol) -> None:
    leave = chatting.leave("l")
    [said] = written(chatting)
    assert said["chat"] == "c1"
    told = chatting.feed(frame(type="left", name="bob", reason="left", chat="c1", ref=said["ref"]) + paired("c2"))
    assert told == [Left("bob", "left", "c1", "l"), Paired("bob", "c2", "client")]
    assert leave.outcome == told[0]
    assert chatting.chat == "c2"


def test_a_request_that_is_repeated_after_a_resume_has_its_mark(alice: ClientProtocol) -> None:
    who = alice.who("zoe", "w")
    [said] = written(alice)
    resume(alice)
    assert said in written(alice)
    alice.feed(frame(type="presence", name="zoe", state="free", ref=said["ref"]))
    assert who.outcome == Presence("zoe", "free", "w")


def test_a_node_of_the_version_before_hears_no_mark(alice: ClientProtocol) -> None:
    alice.connection_lost("gone")
    alice.reconnect()
    alice.call("bob")
    alice.data_to_send()
    old = (WELCOME % ("alice", 256, 1_048_576, 30)).replace('"resumed":false', '"resumed":true').encode() + b"\n"
    alice.feed(old + b'{"type":"pong"}\n')
    assert written(alice) == [{"type": "ping"}, {"type": "to", "name": "bob"}, {"type": "ping"}]


# --- calls that are given up


def test_a_call_is_given_up_by_its_mark(alice: ClientProtocol) -> None:
    call, other = alice.call("bob"), alice.call("carol")
    marks = [said["ref"] for said in written(alice)]
    alice.cancel(call)
    alice.cancel(call)
    assert written(alice) == [{"type": "cancel", "ref": marks[0]}]
    assert alice.feed(frame(type="ringing", name="bob", wait=30, chat="c1", ref=marks[0])) == []
    assert alice.feed(refusal("declined", name="bob", ref=marks[0])) == []
    assert isinstance(call.outcome, Refused)
    assert alice.feed(paired("c2", "carol", ref=marks[1])) == [Paired("carol", "c2", "client")]
    assert other.outcome == Paired("carol", "c2", "client")
    alice.cancel(other)
    assert written(alice) == []


def test_a_call_that_was_answered_at_that_moment_makes_no_chat(chatting: ClientProtocol) -> None:
    call = chatting.call("carol")
    [said] = written(chatting)
    chatting.cancel()
    chatting.data_to_send()
    left = frame(type="left", name="bob", reason="left", chat="c1", ref=said["ref"])
    assert chatting.feed(left) == [Left("bob", "left", "c1")]
    assert chatting.feed(paired("c2", "carol", ref=said["ref"])) == []
    assert written(chatting) == [{"type": "leave", "chat": "c2"}]
    message = frame(type="msg", id=1, **{"from": "carol"}, chat="c2", text="hi", at=1)
    assert chatting.feed(message + frame(type="left", name="carol", reason="left", chat="c2")) == []
    assert isinstance(call.outcome, Refused)
    assert (chatting.chat, chatting.partner, chatting.left) == (None, None, "c2")


def test_a_call_that_was_given_up_is_not_made_again(alice: ClientProtocol) -> None:
    early = alice.call("bob")
    alice.cancel(early)
    alice.connection_lost("gone")
    late = alice.call("carol")
    alice.cancel(late)
    for call in (early, late):
        assert isinstance(call.outcome, Refused)
    resume(alice)
    assert written(alice) == [{"type": "ping"}]


# --- long lines


def texts(protocol: ClientProtocol, *words: str) -> list[Outgoing]:
    """Return texts of any length."""
    limit, protocol.max_line = protocol.max_line, 1 << 20
    said = [protocol.send(text) for text in words]
    protocol.max_line = limit
    protocol.data_to_send()
    return said


@pytest.mark.parametrize("text", ["x" * 1000, "\x01" * 200, "é" * 500])
def test_a_text_that_is_too_long_as_it_is_sent_is_refused_before_it_goes(chatting: ClientProtocol, text: str) -> None:
    with pytest.raises(Refused, match="1024 bytes") as refused:
        chatting.send(text)
    assert refused.value.code == "too_long"
    assert written(chatting) == []
    longest = chatting.send("x" * (MAX_LINE - len('{"type":"msg","id":1,"text":"","chat":"c1"}')))
    assert longest.id == 1
    assert len(chatting.data_to_send()) == MAX_LINE + 1


def test_a_request_that_is_too_long_is_refused_before_it_goes(alice: ClientProtocol) -> None:
    with pytest.raises(Refused, match="1024 bytes"):
        alice.who("x" * 1000)
    assert written(alice) == []


def test_a_refusal_that_comes_late_is_not_booked_on_what_is_under_way(chatting: ClientProtocol) -> None:
    """Three answers are on their way when the first one arrives. Two are about texts that are being sent again."""
    first, second, long, longer, last = texts(chatting, "first", "second", "x" * 2000, "y" * 3000, "last")
    told = chatting.feed(refusal("too_long", id=3))
    assert told == [Settled(long)]
    assert [(said["id"], said["text"][0]) for said in written(chatting)] == [(3, "y"), (4, "l")]
    assert chatting.feed(refusal("too_long", id=4) + refusal("bad_order", id=5, expected=3)) == []
    assert chatting.feed(refusal("too_long", id=3)) == [Settled(longer)]
    assert [(said["id"], said["text"]) for said in written(chatting)] == [(3, "last")]
    assert chatting.feed(refusal("bad_order", id=4, expected=3)) == []
    chatting.feed(frame(type="ack", id=3, chat="c1", at=7.5))
    assert [text.fate for text in (first, second, long, longer, last)] == [
        DeliveryStatus.DELIVERED,
        DeliveryStatus.DELIVERED,
        DeliveryStatus.REFUSED,
        DeliveryStatus.REFUSED,
        DeliveryStatus.DELIVERED,
    ]
    assert (last.id, last.at, first.at) == (3, 7.5, None)
    with pytest.raises(NotARelay):
        chatting.feed(refusal("bad_order", id=4, expected=3))


def test_the_rest_of_a_burst_behind_a_full_window_is_said_again(chatting: ClientProtocol) -> None:
    one, two, three = texts(chatting, "one", "two", "three")
    assert chatting.feed(refusal("window_full", id=2)) == []
    assert chatting.feed(frame(type="ack", id=1, chat="c1", at=1)) == [Settled(one)]
    assert [said["id"] for said in written(chatting)] == [2, 3]
    assert chatting.feed(refusal("window_full", id=3)) == []  # the refusal is about the first burst
    assert chatting.feed(frame(type="ack", id=3, chat="c1", at=2)) == [Settled(two), Settled(three)]
    assert written(chatting) == []


def test_a_text_that_may_have_gone_out_is_never_called_refused(chatting: ClientProtocol) -> None:
    """The next node takes shorter lines, but the one before may have taken the text. The texts after it are taken."""
    one, long, three = texts(chatting, "one", "x" * 900, "three")
    told = resume(chatting, paired(resumed=True, last=0), max_line=512)
    assert [event.text for event in told if isinstance(event, Settled)] == [long]
    assert (long.fate, long.detail) == (DeliveryStatus.UNCONFIRMED, "too_long")
    assert [said["id"] for said in written(chatting) if said["type"] == "msg"] == [1, 3]
    assert chatting.feed(refusal("too_long", id=1)) == [Settled(one)]
    assert one.fate is DeliveryStatus.UNCONFIRMED
    assert written(chatting) == []
    assert chatting.feed(frame(type="ack", id=3, chat="c1")) == [Settled(three)]
    assert chatting.send("four").id == 4


def test_a_text_that_never_went_out_and_is_too_long_is_refused(chatting: ClientProtocol) -> None:
    chatting.connection_lost("gone")
    one, long, three = texts(chatting, "one", "x" * 900, "three")
    resume(chatting, paired(resumed=True, last=0), max_line=512)
    assert (long.fate, long.detail) == (DeliveryStatus.REFUSED, "too_long")
    assert [said["id"] for said in written(chatting) if said["type"] == "msg"] == [one.id, three.id]


# --- proof


def test_a_proof_that_is_not_accepted_costs_no_session() -> None:
    proofs = iter(["old", "stale", "fresh"])
    protocol = ClientProtocol(proof=lambda: next(proofs))
    protocol.claim("alice")
    protocol.feed(welcome() + paired())
    text = protocol.send("a")
    protocol.connection_lost("gone")
    protocol.reconnect()
    protocol.data_to_send()
    assert protocol.feed(refusal("bad_auth", name="alice")) == [Complaint("bad_auth", "no")]
    assert (protocol.unproved, protocol.stranded, text.fate) == (True, True, DeliveryStatus.PENDING)
    assert protocol.connection_lost("left") == []
    protocol.reconnect()
    [hello] = written(protocol)
    assert (hello["token"], hello["auth"]) == ("t0", "fresh")
    assert not protocol.unproved


def test_a_first_proof_that_is_not_accepted_is_a_refusal() -> None:
    protocol = ClientProtocol(proof=lambda: "bad")
    claim = protocol.claim("alice")
    assert protocol.feed(refusal("bad_auth", name="alice")) == []
    assert isinstance(claim.outcome, Refused)
    assert str(claim.outcome) == "alice: no"
