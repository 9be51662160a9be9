"""Peer messages are decoded as they were encoded, and hostile bytes are refused."""

import math
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.errors import Code, Reason
from relay.session.peer_messages import (
    UNREADABLE,
    Accept,
    Ack,
    Away,
    CallConfirmed,
    ChatEnded,
    Decline,
    FlowAck,
    HalfClosed,
    Invite,
    Knew,
    Mail,
    Resync,
    Ringing,
    SessionMoved,
    Text,
    Typing,
    UnknownSession,
    decode,
    encode,
)
from relay.shared_types import LAST_SECOND, Party
from tests.support.rows import each_row

ANN = Party("n1", "ann", "Ann", 3, "client", 30.0)
EVERY_KIND: list[Mail] = [
    Invite("ben", "c1", ANN),
    Ringing("ann", "c1"),
    Accept("ann", "c1", ANN),
    Decline("ann", "c1", Code.BUSY),
    CallConfirmed("ben", "c1"),
    Text("ben", "c1", 3, 1, 0, 1.5, ["hi", "张三 \x00\n🌀"]),
    Typing("ben", "c1"),
    Ack("ann", "c1", 1),
    HalfClosed("ann", "c1", 1),
    ChatEnded("ann", "c1", Reason.QUIT, 1),
    Away("ann", "c1", 30.0),
    Resync("ann", "c1", ANN, 1, True),
    SessionMoved("ann", "s1"),
    FlowAck("ann", "c1", 1),
    UnknownSession("ann", "c1", "n1"),
    Knew("ann", "c1", 2, [1.5, 2.5], 0, []),
]

strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.integers(0, 2**63 - 1)


# The same messages as nodes of version 0.1 wrote them, in the same order. Never change these: nodes of one major
# version understand each other. A new field of a later version is the last one, has a default, and gets its bytes
# below, not here.
OLD = [
    "9194a6696e76697465a362656ea2633197a26e31a3616e6ea3416e6e03a6636c69656e74cb403e000000000000c2",
    "9193a772696e67696e67a3616e6ea26331",
    "9194a6616363657074a3616e6ea2633197a26e31a3616e6ea3416e6e03a6636c69656e74cb403e000000000000c2",
    "9194a76465636c696e65a3616e6ea26331a462757379",
    "9193a6736574746c65a362656ea26331",
    "9198a474657874a362656ea26331030100cb3ff800000000000092a26869ade5bca0e4b88920000af09f8c80",
    "9193a6747970696e67a362656ea26331",
    "9194a361636ba3616e6ea2633101",
    "9194a464656166a3616e6ea2633101",
    "9196a4676f6e65a3616e6ea26331a4717569740100",
    "9195a461776179a3616e6ea26331cb403e00000000000000",
    "9197a473796e63a3616e6ea2633197a26e31a3616e6ea3416e6e03a6636c69656e74cb403e000000000000c201c3c2",
    "9193a56d6f766564a3616e6ea27331",
    "9194a574616b656ea3616e6ea2633101",
    "9194a7756e6b6e6f776ea3616e6ea26331a26e31",
    "9197a46b6e6577a3616e6ea263310292cb3ff8000000000000cb40040000000000000090",
]
OLDER = [(mail, bytes.fromhex(old)) for mail, old in zip(EVERY_KIND, OLD, strict=True)]


@each_row(("mail", "old"), OLDER)
def test_mail_that_an_older_node_wrote_is_understood(mail: Mail, old: bytes) -> None:
    assert decode(old) == [mail]


@each_row("mail", EVERY_KIND, ids=lambda mail: type(mail).__name__)
def test_a_field_that_a_newer_node_adds_at_the_end_is_left_out(mail: Mail) -> None:
    raw = bytearray(encode([mail]))
    raw[1] += 1  # one element more: 0x9n is an array of n
    assert decode(bytes(raw) + b"\xa5later") == [mail]


@each_row("mail", EVERY_KIND, ids=lambda mail: type(mail).__name__)
def test_each_kind_comes_out_as_it_went_in(mail: Mail) -> None:
    assert decode(encode([mail])) == [mail]


def test_a_party_of_a_node_that_knew_less_does_not_ring() -> None:
    old = msgspec.msgpack.encode([["invite", "ben", "c1", ["n1", "ann", "Ann", 3, "client", 30.0]]])
    assert decode(old) == [Invite("ben", "c1", ANN)]
    assert not ANN.rings


def test_there_is_no_kind_that_is_not_tried() -> None:
    assert {type(mail) for mail in EVERY_KIND} == set(Mail.__args__)


def test_many_peer_messages_in_one_go_keep_their_order() -> None:
    assert decode(encode(EVERY_KIND)) == EVERY_KIND
    assert decode(encode([])) == []


def test_bytes_may_be_a_view() -> None:
    assert decode(memoryview(encode(EVERY_KIND))) == EVERY_KIND


moments = st.floats(0, LAST_SECOND)


@given(st.lists(st.builds(Text, strings, strings, numbers, numbers, numbers, moments, st.lists(strings))))
def test_any_text_comes_out_as_it_went_in(mail: list[Mail]) -> None:
    assert decode(encode(mail)) == mail


@given(st.binary())
def test_hostile_bytes_are_bad_mail_or_mail(body: bytes) -> None:
    with suppress(*UNREADABLE):
        decode(body)


@given(st.sampled_from(EVERY_KIND), st.data())
def test_damaged_mail_is_bad_mail_or_mail(mail: Mail, data: st.DataObject) -> None:
    body = bytearray(encode([mail]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(*UNREADABLE):
        decode(bytes(body))


@each_row(
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
        *(msgspec.msgpack.encode([["ack", "ben", "c1", 1, at]]) for at in (math.nan, math.inf, -1.0, 6.78e16)),
        *(msgspec.msgpack.encode([["away", "ben", "c1", grace, 1]]) for grace in (math.nan, math.inf, -1.0)),
    ],
    ids=[
        *(
            "empty",
            "cut",
            "trailing",
            "deep",
            "huge",
            "not UTF-8",
            "unknown tag",
            "wrong type",
            "unknown code",
            "a map",
        ),
        *("a time that is no number", "a time without end", "a time before all", "a time after all"),
        *("a grace that is no number", "a grace without end", "a grace below nothing"),
    ],
)
def test_bytes_that_are_no_mail_are_refused(body: bytes) -> None:
    with pytest.raises(UNREADABLE):
        decode(body)


def test_mail_of_the_version_before_lacks_what_was_added_since() -> None:
    assert decode(msgspec.msgpack.encode([["ack", "ben", "c1", 1]])) == [Ack("ben", "c1", 1)]
    party = ["n1", "ann", "ann", 1, "node", 0.0]
    sync = decode(msgspec.msgpack.encode([["sync", "ben", "c1", party, 3, False, False]]))
    assert sync == [Resync("ben", "c1", Party("n1", "ann", "ann", 1, "node", 0.0), 3, False)]
