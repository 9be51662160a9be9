"""The client's protocol against a node that sends anything: it may raise `NotARelay` and nothing else."""

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pairchat.errors import NameLost, NotARelay, Refused
from pairchat.events import Event, Message
from pairchat.sansio_protocol import ClientProtocol
from relay.protocol import json_frames
from tests.fuzz.shapes import cut, joined, shapes

WORDS = st.sampled_from(["alice", "bob", "c1", "c2", "t1", "", "node", "client", "busy", "lost", "\x1b[2J\u202e\n"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 2**53 - 1])
WELCOME = json_frames.encode(json_frames.NodeWelcome(1, "alice", "t1", False, 30.0, 8, 1000, 30.0, "n1"))
PAIRED = json_frames.encode(json_frames.NodePaired("bob", "c1", "client", False))

node_lines = shapes(json_frames.NodeFrame, WORDS, NUMBERS).map(json_frames.encode) | st.sampled_from([WELCOME, PAIRED])
garbage = st.binary(max_size=30) | st.just(b'{"type":"tomorrow"}\n') | st.just(b"\n")

Deed = Callable[[ClientProtocol], object]


def reconnect(protocol: ClientProtocol) -> None:
    protocol.connection_lost("test")
    if protocol.name is not None:
        protocol.reconnect()


DEEDS: list[Deed] = [
    lambda protocol: protocol.call("bob"),
    lambda protocol: protocol.who("bob"),
    lambda protocol: protocol.block("bob"),
    lambda protocol: protocol.send("hi"),
    lambda protocol: protocol.leave(),
    lambda protocol: protocol.accept("c1"),
    lambda protocol: protocol.cancel(),
    lambda protocol: protocol.typing(),
    lambda protocol: protocol.ping(),
    lambda protocol: protocol.quit(),
    reconnect,
]


def do(protocol: ClientProtocol, deed: Deed) -> None:
    """Do what a user does. Some actions may be refused."""
    with suppress(Refused, NameLost):
        deed(protocol)


def feed(protocol: ClientProtocol, data: bytes) -> list[Event] | None:
    """Return the events, or None if the client gave the connection up."""
    try:
        told = protocol.feed(data)
    except NotARelay:
        reconnect(protocol)
        return None
    for event in told:
        if isinstance(event, Message):
            protocol.acknowledge(event)
    return told


@settings(max_examples=max(300, settings().max_examples))
@given(st.booleans(), st.lists(node_lines | garbage | st.sampled_from(DEEDS), max_size=20))
def test_a_node_that_says_anything_breaks_no_client(ask: bool, steps: list[bytes | Deed]) -> None:
    protocol = ClientProtocol(ask=ask)
    protocol.claim("alice")
    feed(protocol, WELCOME)
    for step in steps:
        if isinstance(step, bytes):
            feed(protocol, step)
        else:
            do(protocol, step)
        for line in protocol.data_to_send().splitlines():
            assert json_frames.decode_client(line), "what it writes is what a node takes"


@given(st.lists(node_lines | garbage, max_size=12).map(joined), st.lists(st.integers(0)))
def test_a_client_is_told_the_same_however_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    def told(pieces: list[bytes]) -> tuple[list[Event], bool]:
        protocol = ClientProtocol()
        protocol.claim("alice")
        seen: list[Event] = []
        for piece in pieces:
            try:
                seen += protocol.feed(piece)
            except NotARelay:
                return [], True
        return seen, False

    pieces = [WELCOME, PAIRED]
    assert told([*pieces, *cut(data, cuts)]) == told([*pieces, data])
