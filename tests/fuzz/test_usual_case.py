"""The usual case has the same result as the general way, whatever clients and other nodes send."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.session.memory_budget import PLENTY
from relay.session.peer_messages import Ack, FlowAck, Mail, Text
from tests.relay.session import test_usual_case
from tests.relay.session.test_usual_case import (
    CHAT,
    FEW,
    HAS_TWO,
    MAX_LINE,
    NAMES,
    NARROW,
    NOON,
    UNUSUAL,
    WIDE,
    Bounds,
    Step,
    both,
    bound,
)

TEXTS = ["a", "b" * 20, "é", "x" * 90, "😀", "To:ann"]
ids = st.integers(1, 12)
chats = st.sampled_from([CHAT, "another"])
moments = st.sampled_from([NOON, NOON - 1.0])


def line(kind: str) -> st.SearchStrategy[bytes]:
    """Return a strategy for a line of a client. Messages come without an id where "next" stands, see `numbered`."""
    if kind == "text":
        return st.sampled_from([text.encode() for text in TEXTS] * 2 + [b"", b"\xff", b"To:ann", b"x" * (MAX_LINE + 1)])
    text = st.sampled_from(TEXTS)
    in_chat = st.sampled_from(["", "", f',"chat":"{CHAT}"', ',"chat":"another"'])
    said = st.builds('{{"type":"msg","id":next,"text":"{}"{}}}'.format, text, in_chat)
    again = st.builds('{{"type":"msg","id":{},"text":"{}"}}'.format, ids, text)
    acks = st.builds('{{"type":"ack","id":{}{}}}'.format, ids, in_chat)
    asides = [
        '{"type":"ping"}',
        "{",
        '{"type":"leave"}',
        '{"type":"typing"}',
        '{"type":"to","name":"ben"}',
        '{"type":"msg","id":1,"text":"\\ud800"}',
    ]
    usual = [said] * 5 + ([acks] * 3 if kind in ("acks", "web") else [])
    return st.one_of(*usual, again, acks, st.sampled_from(asides)).map(str.encode)


def reads(kind: str) -> st.SearchStrategy[list[bytes]]:
    """Return a strategy for what a client sends in one iteration: mostly one line in one read."""
    one = line(kind).map(lambda only: only + b"\n")
    several = st.lists(line(kind), min_size=1, max_size=6).map(lambda all: b"\n".join(all) + b"\n")
    half = st.tuples(line(kind), st.integers(0, 20)).map(lambda cut: cut[0][: cut[1]])
    return st.lists(st.one_of(one, one, one, several, several, half), min_size=1, max_size=3)


def stray_mail(who: int) -> st.SearchStrategy[Mail]:
    """Return a strategy for mail to a client that its partner didn't send just so."""
    to = st.sampled_from([NAMES[who], NAMES[who], "nobody"])
    texts = st.lists(st.sampled_from(TEXTS), max_size=3)
    return st.one_of(
        st.builds(Text, to, chats, st.sampled_from([0, 1, 2, 99]), ids, st.integers(0, 12), moments, texts),
        st.builds(Ack, to, chats, ids, st.none() | moments),
        st.builds(FlowAck, to, chats, ids),
    )


def step(what: str, *about: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """Return a strategy for one step."""
    return st.builds(Step, st.just(what), st.tuples(*about))


def steps(kinds: tuple[str, str]) -> st.SearchStrategy[list[Step]]:
    """Return a strategy for what happens, most of which is talk."""
    talk = [step("send", st.just(who), reads(kind)) for who, kind in enumerate(kinds)]
    who = st.integers(0, 1)
    seldom = st.one_of(
        step("wait", st.sampled_from([0.001, 0.02, 1.0, 40.0])),
        step("set_clock", st.sampled_from([-5.0, 0.0, 3600.0])),
        step("fill", who),
        step("read", who),
        step("allow", who, st.sampled_from([0, 300, PLENTY, PLENTY])),
        step("hold", who, st.booleans()),
        step("lose_name", who),
        step("move", who, who, st.sampled_from([b"", b',"sent":3', b',"sent":9' + HAS_TWO])),
        step("break_off", who),
        *(step("arrive", st.just(one), st.lists(stray_mail(one), min_size=1, max_size=2)) for one in (0, 1)),
    )
    carry = st.one_of(step("carry", st.sampled_from([1, 1, 2])), step("carry_all"))
    return st.lists(st.one_of(*talk, *talk, carry, carry, carry, seldom), max_size=30)


def numbered(steps: list[Step]) -> list[Step]:
    """Give the messages of each client the next ids, where an id is left open."""
    counts = [0, 0]

    def number(who: int, data: bytes) -> bytes:
        def next_id(_: re.Match[bytes]) -> bytes:
            counts[who] += 1
            return b"%d" % counts[who]

        return re.sub(rb"\bnext\b", next_id, data)

    def fill_in(step: Step) -> Step:
        if step.what != "send":
            return step
        who, all = step.about
        return Step("send", (who, [number(who, data) for data in all]))

    return [fill_in(step) for step in steps]


KINDS = [("json", "json"), ("acks", "acks"), ("text", "json"), ("acks", "text"), ("web", "web"), ("web", "json")]


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@given(data=st.data())
def test_every_step_has_the_result_of_the_general_way(kinds: tuple[str, str], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch, both(kinds) as (usual, general):
        bound(patch, data.draw(st.sampled_from([WIDE, NARROW, FEW])))
        assert usual.state() == general.state()
        for step in numbered(data.draw(steps(kinds))):
            usual.take(step)
            general.take(step)
            assert usual.state() == general.state()


@pytest.mark.parametrize("bounds", [NARROW, FEW], ids=["narrow", "few"])
@pytest.mark.parametrize("steps", UNUSUAL.values(), ids=UNUSUAL)
def test_the_unusual_at_narrow_bounds_has_the_result_of_the_general_way(
    steps: list[Step], bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_usual_case.test_the_unusual_has_the_result_of_the_general_way(steps, "acks", monkeypatch, bounds)
