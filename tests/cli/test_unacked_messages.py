"""The outcomes of texts that are sent, in literal bytes."""

import pytest

from pairchat import DeliveryStatus, NotARelay, Outgoing, Refused, Settled
from tests.cli.scripted import WELCOME
from tests.cli.wire import chatting, error, joined, said


def fates(texts: list[Outgoing]) -> list[str]:
    return [text.fate.value for text in texts]


def test_texts_are_numbered_and_belong_to_the_chat() -> None:
    protocol = chatting()
    assert [protocol.send("hi").id, protocol.send("hö").id] == [1, 2]
    assert protocol.data_to_send() == said(1, "hi") + said(2, "hö")


def test_ids_go_on_in_the_next_chat() -> None:
    protocol = chatting()
    protocol.send("hi")
    protocol.feed(
        b'{"type":"unconfirmed","from":1,"to":1,"reason":"left"}\n{"type":"left","name":"bob","reason":"left"}\n'
        b'{"type":"paired","name":"carol","chat":"c2","acks":"node","resumed":false}\n'
    )
    assert protocol.send("hello").id == 2


def test_an_ack_delivers_everything_up_to_it_and_says_by_whom() -> None:
    protocol = chatting()
    texts = [protocol.send(text) for text in "abc"]
    assert protocol.feed(b'{"type":"ack","id":2,"chat":"c1"}\n') == [Settled(texts[0]), Settled(texts[1])]
    assert fates(texts) == ["delivered", "delivered", "pending"]
    assert texts[0].by == "client"


def test_an_ack_of_another_chat_delivers_nothing() -> None:
    protocol = chatting()
    text = protocol.send("a")
    assert protocol.feed(b'{"type":"ack","id":1,"chat":"c0"}\n') == []
    assert text.fate is DeliveryStatus.PENDING


def test_unconfirmed_covers_its_range_and_an_ack_the_rest() -> None:
    protocol = chatting()
    texts = [protocol.send(text) for text in "abc"]
    protocol.feed(b'{"type":"unconfirmed","from":2,"to":2,"reason":"lost"}\n{"type":"ack","id":3,"chat":"c1"}\n')
    assert fates(texts) == ["delivered", "unconfirmed", "delivered"]
    assert texts[1].detail == "lost"


def test_the_window_counts_texts_and_bytes_and_always_has_room_for_one() -> None:
    few = chatting(window=2)
    few.send("a")
    assert few.room("b")
    few.send("b")
    assert not few.room("c")
    small = chatting(window_bytes=4)
    assert small.room("12345")
    small.send("öö")
    assert not small.room("x")
    small.feed(b'{"type":"ack","id":1,"chat":"c1"}\n')
    assert small.room("1234")


def test_a_text_needs_a_partner_and_some_characters() -> None:
    with pytest.raises(Refused, match="nobody"):
        joined().send("hi")
    for nothing in ("", "\ud800"):
        with pytest.raises(ValueError, match=r"empty|surrogate"):
            chatting().send(nothing)


def test_a_text_that_makes_too_long_a_line_takes_no_id() -> None:
    protocol = chatting()
    with pytest.raises(Refused) as told:
        protocol.send("x" * 65_500)
    assert told.value.code == "too_long"
    assert protocol.data_to_send() == b""
    longest = 65_536 - len(said(1, "")) + 1
    assert protocol.send("x" * longest).id == 1
    assert len(protocol.data_to_send()) == 65_537


# --- texts that the node doesn't take


def test_a_full_window_makes_the_refused_and_all_behind_it_wait_and_go_again() -> None:
    protocol = chatting()
    texts = [protocol.send(text) for text in "abc"]
    protocol.data_to_send()
    protocol.feed(error("window_full", ',"id":2') + error("bad_order", ',"id":3,"expected":2'))
    texts.append(protocol.send("d"))
    assert protocol.data_to_send() == b""
    protocol.feed(b'{"type":"ack","id":1,"chat":"c1"}\n')
    assert protocol.data_to_send() == said(2, "b") + said(3, "c") + said(4, "d")
    protocol.feed(b'{"type":"ack","id":4,"chat":"c1"}\n')
    assert fates(texts) == ["delivered"] * 4


def test_a_refused_text_gives_its_id_to_the_next() -> None:
    protocol = chatting()
    texts = [protocol.send(text) for text in "abc"]
    protocol.data_to_send()
    assert protocol.feed(error("unavailable", ',"id":1')) == [Settled(texts[0])]
    assert (texts[0].fate, texts[0].detail) == (DeliveryStatus.REFUSED, "unavailable")
    assert protocol.data_to_send() == said(1, "b") + said(2, "c")
    order = error("bad_order", ',"id":2,"expected":1') + error("bad_order", ',"id":3,"expected":1')
    assert protocol.feed(order) == []
    assert protocol.send("d").id == 3


def test_a_line_found_too_long_by_a_stricter_node_refuses_the_longest_text() -> None:
    protocol = chatting()
    short, long = protocol.send("short"), protocol.send("l" * 100)
    assert protocol.feed(error("too_long")) == [Settled(long)]
    assert (long.fate, short.fate) == (DeliveryStatus.REFUSED, DeliveryStatus.PENDING)


def test_a_line_found_too_long_before_any_text_goes_again_refuses_no_text() -> None:
    protocol = chatting()
    text = protocol.send("hi")
    protocol.connection_lost("gone")
    protocol.reconnect()
    protocol.feed((WELCOME % ("alice", 256, 9999, 30)).replace('"resumed":false', '"resumed":true').encode() + b"\n")
    assert protocol.feed(error("too_long")) == []
    assert text.fate is DeliveryStatus.PENDING


def test_a_full_window_with_nothing_in_it_refuses_for_good() -> None:
    protocol = chatting()
    text = protocol.send("huge")
    assert protocol.feed(error("window_full", ',"id":1')) == [Settled(text)]
    assert text.fate is DeliveryStatus.REFUSED


def test_a_node_that_lost_count_is_given_up() -> None:
    protocol = chatting()
    protocol.send("a")
    with pytest.raises(NotARelay, match="count"):
        protocol.feed(error("bad_order", ',"id":1,"expected":7'))
