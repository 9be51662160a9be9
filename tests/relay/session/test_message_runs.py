"""Consecutive messages are handled together, with the same result as one by one, whatever clients send.

Both ways get the same bytes in the same reads, and every byte to any client has to be the same.
"""

from collections.abc import Iterable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.hub import delayed_client_acks
from relay.protocol.commands_and_events import Say
from relay.server import connection
from relay.session import chat, usual_case
from relay.session.runtime_interface import Limits
from relay.session.send_window import SendWindow
from tests.relay.desk import Wire
from tests.relay.twins import Twins, timeless
from tests.support.examples import EXAMPLES

MAX_LINE = 120
LIMITS = Limits(window=8, window_bytes=150, patience=60.0)
HELLO = {
    "json": b'{"type":"hello","name":"%b"}\n',
    "acks": b'{"type":"hello","name":"%b","acks":true}\n',
    "text": b"%b\n",
    "classic": b"%b",
}
# Lines other than messages, for each kind of client.
ASIDE = {
    "json": [b'{"type":"ping"}', b"{", b'{"type":"leave"}', b'{"type":"msg","id":1,"text":""}', b"x" * (MAX_LINE + 1)],
    "acks": [
        b'{"type":"ack","id":3}',
        b'{"type":"ack","id":9}',
        b'{"type":"ack","id":99}',
        b'{"type":"who","name":"b"}',
    ],
    "text": [b"", b"To:ann", b"To:ben", b"To:nobody", b"\xff", b"x" * (MAX_LINE + 1), b"Quit now", b"a\r"],
    "classic": [b"To:nobody", b"\xff"],
}
ENDS = {"json": b'{"type":"quit"}', "acks": b'{"type":"quit"}', "text": b"Quit", "classic": b"Quit"}
TEXTS = ["a", "To:", "Quit", "é\\n", '\\u0000\\"', "x" * 40, "😀", "a\\nb"]

Step = tuple[int, bytes]  # the client, and its bytes in one read


@st.composite
def frames(draw: st.DrawFn, kind: str) -> list[bytes]:
    """Return a strategy for lines of one client, most of them messages whose ids rise by one."""
    lines, id = list[bytes](), 0
    for what in draw(st.lists(st.sampled_from(["next"] * 12 + ["again", "jump", "elsewhere", "aside"]), max_size=40)):
        text = draw(st.sampled_from(TEXTS))
        if what == "aside":
            lines.append(draw(st.sampled_from(ASIDE[kind])))
        elif kind in ("text", "classic"):
            lines.append(text.encode())
        else:
            id += {"next": 1, "again": 0, "jump": 2, "elsewhere": 1}[what]
            chat = ',"chat":"chat 1 of 1111111111111111"' if draw(st.booleans()) else ""
            chat = ',"chat":"another"' if what == "elsewhere" else chat
            lines.append(b'{"type":"msg","id":%d,"text":"%b"%b}' % (max(1, id), text.encode(), chat.encode()))
            id -= what == "jump" and 2
    return [*lines, *draw(st.sampled_from([[], [], [ENDS[kind]]]))]


@st.composite
def scripts(draw: st.DrawFn, kinds: tuple[str, str]) -> list[Step]:
    """Return a strategy for both clients' lines, cut into reads at any place, in any order."""
    reads: list[list[bytes]] = []
    for kind in kinds:
        lines = draw(frames(kind))
        if kind == "classic":  # it has no lines: each read is a message
            reads.append(lines)
            continue
        stream = b"".join(line + b"\n" for line in lines)
        cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=6)))
        reads.append([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b])
    steps: list[Step] = []
    while any(reads):
        who = draw(st.sampled_from([n for n in (0, 1) if reads[n]]))
        steps.append((who, reads[who].pop(0)))
    return steps


async def outcome(kinds: tuple[str, str], nodes: tuple[int, int], steps: Iterable[Step], slow: set[int]) -> list[bytes]:
    """Return everything that both clients were told. Between the steps in `slow` the second one doesn't read."""
    async with Twins(LIMITS, MAX_LINE) as twins:
        ann, ben = (twins.wire(node, classic=kind == "classic") for node, kind in zip(nodes, kinds, strict=True))
        ann.send(HELLO[kinds[0]] % b"ann")
        ben.send(HELLO[kinds[1]] % b"ben")
        await twins.settle()
        ann.send(b"To:ben\n" if kinds[0] in ("text", "classic") else b'{"type":"to","name":"ben"}\n')
        await twins.settle()
        for place, (who, data) in enumerate(steps):
            _read(ben, place in slow)
            (ann, ben)[who].send(data)
            if place % 3:
                await twins.settle()
        _read(ben, False)
        await twins.settle()
        return [timeless(wire.sent) for wire in twins.wires]


def _read(wire: Wire, full: bool) -> None:
    if wire.full and not full:
        wire.read()
    wire.full = full


@pytest.mark.parametrize("nodes", [(0, 1), (0, 0)], ids=["two nodes", "one node"])
@pytest.mark.parametrize(
    "kinds", [("json", "json"), ("acks", "acks"), ("text", "json"), ("json", "text"), ("json", "classic")]
)
@settings(max_examples=max(1, EXAMPLES // 2))
@given(st.data())
def test_a_run_ends_as_its_messages_would_one_by_one(
    kinds: tuple[str, str], nodes: tuple[int, int], data: st.DataObject
) -> None:
    steps, slow = data.draw(scripts(kinds)), data.draw(st.sets(st.integers(0, 12)))
    flight = data.draw(st.sampled_from([30, 65536]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            delayed_client_acks, "ACK_PAUSE_SECONDS", 60.0
        )  # what its timer tells, and when, depends on the machine
        for module in (chat, usual_case):
            patch.setattr(module, "FLIGHT_BYTES", flight)
        patch.setattr(connection, "TURN_LINES", data.draw(st.sampled_from([3, 256])))
        at_once = anyio.run(outcome, kinds, nodes, steps, slow)
        patch.setattr(SendWindow, "room", lambda outbox, said: 0)
        assert at_once == anyio.run(outcome, kinds, nodes, steps, slow)


def test_messages_of_one_read_are_said_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare one way with itself."""
    said: list[list[str]] = []
    say_on = SendWindow.say_on

    def seen(outbox: SendWindow, texts: list[str]) -> None:
        said.append(texts)
        say_on(outbox, texts)

    monkeypatch.setattr(SendWindow, "say_on", seen)
    lines = b"".join(b'{"type":"msg","id":%d,"text":"%d"}\n' % (id, id) for id in range(1, 6))
    told = anyio.run(outcome, ("json", "text"), (0, 1), [(0, lines)], set())
    assert said == [["2", "3", "4", "5"]]
    assert told[1].count(b"ann: (") == 5


def test_there_is_room_up_to_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []
    room = SendWindow.room

    def seen(outbox: SendWindow, said: Say) -> int:
        rooms.append(room(outbox, said))
        return rooms[-1]

    monkeypatch.setattr(SendWindow, "room", seen)
    lines = b"".join(b'{"type":"msg","id":%d,"text":"%d"}\n' % (id, id) for id in range(1, 12))
    anyio.run(outcome, ("json", "json"), (0, 1), [(0, lines)], set())
    assert rooms[0] == LIMITS.window - 1
