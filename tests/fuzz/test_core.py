"""Input of any kind from strangers and from Redis raises nothing, and doesn't affect two users who chat."""

import json
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.protocol import json_frames
from relay.protocol.commands_and_events import Acked, Acknowledge, Claim, Messages, Say
from relay.protocol.dialects import CLASSIC, JSON, TEXT, Dialect, Framer, LineFramer, RawFramer, TooLong
from relay.session.peer_messages import Mail
from relay.web.dialect import WEB
from relay.web.frames import MessageFramer
from tests.fuzz.shapes import cut, joined, shapes
from tests.relay.world import User, World, enter, pair
from tests.support.web import frame as web_frame

MAX_LINE = 200
NAMES = ["ann", "ben", "eve", "zoe"]
# Names and ids that mean something here, and others.
WORDS = st.sampled_from([*NAMES, "n1", "n2", "n3", "chat1", "chat2", "chat3", "token", "", "x", "\x1b[2J\u202e\n"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 4, 2**53 - 1, 2**63 - 1])

frame_lines = shapes(json_frames.ClientFrame, WORDS, NUMBERS).map(json_frames.encode)
odd_lines = st.dictionaries(
    st.sampled_from(["type", "v", "id", "name", "text", "chat", "token"]), WORDS | NUMBERS | st.none()
).map(lambda fields: json.dumps(fields).encode() + b"\n")
text_lines = st.sampled_from(["To:ann", "To:ben", "To:", "eve", "/leave", "/quit", "/who ann", "/help", "hi", ""]).map(
    lambda line: line.encode() + b"\n"
)
garbage = st.binary(max_size=30) | st.just(b"x" * (MAX_LINE + 2)) | st.just(b"\n")
hello = st.just(json_frames.encode(json_frames.ClientHello(name="eve", acks=True))) | st.just(b"eve\n") | st.just(b"")


class Stranger:
    """A connection without a socket: a framer, a dialect, a session."""

    def __init__(self, user: User, dialect: Dialect, framer: Framer) -> None:
        self._user, self._dialect, self._framer = user, dialect, framer
        self._waiting: deque[bytes | TooLong] = deque()
        self.heard: list[Any] = []

    def writes(self, data: bytes) -> None:
        self._waiting.extend(self._framer.feed(data))
        self.goes_on()

    @property
    def has_said_all(self) -> bool:
        """Whether no line of it waits any more."""
        return not self._waiting or self._user.closed

    def goes_on(self) -> None:
        """Handle lines until the session is blocked. Each is parsed in its turn, because a name changes its meaning."""
        session = self._user.session
        while self._waiting and not session.blocked and not self._user.closed:
            line = self._waiting.popleft()
            session.receive(
                self._dialect.too_long(line) if isinstance(line, TooLong) else self._dialect.parse(line, session.named)
            )
        for event in self._user.hears():
            self.heard.append(event)
            assert isinstance(self._dialect.render(event), bytes)


def chatting(world: World) -> tuple[User, User, str]:
    ann = enter(world.place("n1"), "ann", acks=True)
    ben = enter(world.place("n2"), "ben", acks=True)
    return ann, ben, pair(ann, ben)


def still_chat(world: World, ann: User, ben: User, chat: str) -> None:
    """Check that each of the two hears what the other says, and nothing else."""
    for speaker, hearer in ((ann, ben), (ben, ann)):
        speaker.says(Say("still here?", 1, chat))
        world.settle()
        (told,) = hearer.hears()
        assert isinstance(told, Messages)
        assert (told.id, told.texts) == (1, ["still here?"])
        hearer.says(Acknowledge(1, chat))
        world.settle()
        (acknowledged,) = speaker.hears()
        assert isinstance(acknowledged, Acked)


def settle(world: World, *strangers: Stranger) -> None:
    world.settle()
    for stranger in strangers:
        stranger.goes_on()
    world.settle()


@given(hello, st.lists(frame_lines | odd_lines | text_lines | garbage, max_size=12), st.lists(st.integers(0)))
def test_a_stranger_in_a_browser_harms_nobody_either(first: bytes, rest: list[bytes], cuts: list[int]) -> None:
    """Each of its lines is a message, and a line that is too long ends the connection."""
    world = World()
    ann, ben, chat = chatting(world)
    eve = Stranger(world.place("n2").user(program=True), WEB, MessageFramer(MAX_LINE, MAX_LINE))
    for piece in cut(joined([web_frame(line) for line in (first, *rest)]), cuts):
        eve.writes(piece)
        settle(world, eve)
    still_chat(world, ann, ben, chat)


@pytest.mark.parametrize(
    ("dialect", "raw"), [(JSON, False), (TEXT, False), (CLASSIC, True)], ids=["json", "text", "classic"]
)
@given(hello, st.lists(frame_lines | odd_lines | text_lines | garbage, max_size=12), st.lists(st.integers(0)))
def test_a_stranger_who_says_anything_harms_nobody(
    dialect: Dialect, raw: bool, first: bytes, rest: list[bytes], cuts: list[int]
) -> None:
    world = World()
    ann, ben, chat = chatting(world)
    framer = RawFramer(MAX_LINE) if raw else LineFramer(MAX_LINE)
    eve = Stranger(world.place("n2").user(program=dialect is JSON), dialect, framer)
    for piece in [first, *rest] if raw else cut(first + joined(rest), cuts):
        eve.writes(piece)
        settle(world, eve)
    still_chat(world, ann, ben, chat)


@given(st.lists(frame_lines | odd_lines | garbage, max_size=12), st.lists(st.integers(0)))
def test_a_stranger_is_told_the_same_however_the_bytes_arrive(rest: list[bytes], cuts: list[int]) -> None:
    def heard(pieces: list[bytes]) -> list[Any]:
        world = World()
        chatting(world)
        eve = Stranger(world.place("n2").user(), JSON, LineFramer(MAX_LINE))
        for piece in pieces:
            eve.writes(piece)
        for _ in range(100):  # as many ticks as there may be lines
            settle(world, eve)
            if eve.has_said_all:
                break
        return eve.heard

    data = json_frames.encode(json_frames.ClientHello(name="eve", acks=True)) + joined(rest)
    assert heard(cut(data, cuts)) == heard([data])


@settings(max_examples=max(300, settings().max_examples))
@given(st.lists(shapes(Mail, WORDS, NUMBERS), max_size=8))
def test_mail_that_no_node_would_write_ends_no_node(mail: list[Mail]) -> None:
    """Anyone with access to Redis may send anything to any node. Nonsense must not end a node."""
    world = World()
    ann, ben, _ = chatting(world)
    eve, zoe = enter(world.place("n1"), "eve"), enter(world.place("n2"), "zoe", program=False)
    for piece in mail:
        for place in (world.place("n1"), world.place("n2")):
            place.deliver(piece)
        world.settle()
    for user in (ann, ben, eve, zoe):
        for event in user.hears():
            assert isinstance(JSON.render(event), bytes)
            assert isinstance(TEXT.render(event), bytes)
    world.pass_time(60.0)
    world.settle()
    late = world.place("n1").user()
    late.says(Claim("late", False))
    world.settle()
    assert late.session.named, "the node serves on"
