"""Mail as bytes: what went in comes out, and hostile bytes do no more than be refused."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Code, Reason
from relay.mail import (
    Accept,
    Ack,
    Away,
    BadMail,
    Deaf,
    Decline,
    Gone,
    Invite,
    Mail,
    Moved,
    Party,
    Ringing,
    Settle,
    Sync,
    Taken,
    Text,
    Typing,
    Unknown,
    decode,
    encode,
)

ANN = Party("n1", "ann", "Ann", 3, "client", 30.0)
EVERY_KIND: list[Mail] = [
    Invite("ben", "c1", ANN),
    Ringing("ann", "c1"),
    Accept("ann", "c1", ANN),
    Decline("ann", "c1", Code.BUSY),
    Settle("ben", "c1"),
    Text("ben", "c1", 3, 1, 0, 1.5, ["hi", "张三 \x00\n🌀"]),
    Typing("ben", "c1"),
    Ack("ann", "c1", 1),
    Deaf("ann", "c1", 1),
    Gone("ann", "c1", Reason.QUIT, 1),
    Away("ann", "c1", 30.0),
    Sync("ann", "c1", ANN, 1, True),
    Moved("ann", "s1"),
    Taken("ann", "c1", 1),
    Unknown("ann", "c1", "n1"),
]

strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("mail", EVERY_KIND, ids=lambda mail: type(mail).__name__)
def test_each_kind_comes_out_as_it_went_in(mail: Mail) -> None:
    assert decode(encode([mail])) == [mail]


def test_a_party_of_a_node_that_knew_less_does_not_ring() -> None:
    old = msgspec.msgpack.encode([["invite", "ben", "c1", ["n1", "ann", "Ann", 3, "client", 30.0]]])
    assert decode(old) == [Invite("ben", "c1", ANN)]
    assert not ANN.rings


def test_there_is_no_kind_that_is_not_tried() -> None:
    assert {type(mail) for mail in EVERY_KIND} == set(Mail.__args__)


def test_many_in_one_go_keep_their_order() -> None:
    assert decode(encode(EVERY_KIND)) == EVERY_KIND
    assert decode(encode([])) == []


def test_bytes_may_be_a_view() -> None:
    assert decode(memoryview(encode(EVERY_KIND))) == EVERY_KIND


@given(st.lists(st.builds(Text, strings, strings, numbers, numbers, numbers, st.floats(0, 1e12), st.lists(strings))))
def test_any_text_comes_out_as_it_went_in(mail: list[Mail]) -> None:
    assert decode(encode(mail)) == mail


@given(st.binary())
def test_hostile_bytes_are_bad_mail_or_mail(body: bytes) -> None:
    with suppress(BadMail):
        decode(body)


@given(st.sampled_from(EVERY_KIND), st.data())
def test_damaged_mail_is_bad_mail_or_mail(mail: Mail, data: st.DataObject) -> None:
    body = bytearray(encode([mail]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadMail):
        decode(bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        encode([EVERY_KIND[0]])[:-1],
        encode([EVERY_KIND[0]]) + b"\x00",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xa2\xff\xff",
        msgspec.msgpack.encode([["shout", "ben", "c1"]]),
        msgspec.msgpack.encode([["ack", "ben", "c1", "1"]]),
        msgspec.msgpack.encode([["decline", "ben", "c1", "no such code"]]),
        msgspec.msgpack.encode({"to": "ben"}),
    ],
    ids=["empty", "cut", "trailing", "deep", "huge", "not UTF-8", "unknown tag", "wrong type", "unknown code", "a map"],
)
def test_what_is_not_mail_is_refused(body: bytes) -> None:
    with pytest.raises(BadMail):
        decode(body)


def test_a_field_more_is_let_pass_so_that_nodes_can_be_upgraded_one_by_one() -> None:
    assert decode(msgspec.msgpack.encode([["ack", "ben", "c1", 1, "more"]])) == [Ack("ben", "c1", 1)]
