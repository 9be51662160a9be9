"""The table of the ends of a WebSocket connection in docs/protocol.md: each row is what happens."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from relay.hub.hub import Hub
from relay.server import connection as connection_module
from relay.server.http_exchange import HttpServer
from relay.session.drain import Drain
from relay.session.operator_kick import kick
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, program, until
from tests.relay.web_desk import Browser, browser, http_server
from tests.support.web import CLOSE, TEXT, close, frame

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
QUIT = frame(b'{"type":"quit"}')


class Row(NamedTuple):
    """A row of the table."""

    how: str
    frames: str
    code: str
    session: str


def rows() -> dict[str, Row]:
    table = PAGE.partition("| how it ends |")[2].partition("\n\n")[0].splitlines()[2:]
    found = [Row(*(cell.strip() for cell in line.strip("| ").split(" | "))) for line in table]
    return {row.how: row for row in found}


class Place:
    """A node, and what a row does to one of its clients."""

    def __init__(self, hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub, self.wire, self.monkeypatch = hub, wire, monkeypatch
        self.http: HttpServer = http_server(hub)

    async def ann(self) -> Browser:
        there = await browser(self.wire, self.http)
        there.say(type="hello", name="ann")
        self.token = (await there.told("welcome"))["token"]
        return there

    async def said(self, data: bytes) -> Browser:
        ann = await self.ann()
        ann.send(data)
        return ann

    async def moving(self) -> Browser:
        ann = await self.ann()
        Drain(self.hub.sessions, self.hub.open_tick).poll()
        await until(lambda: ann.seen)
        self.hub.dismiss()
        return ann

    async def stopped(self) -> Browser:
        there = await browser(self.wire, self.http)
        self.hub.dismiss()
        return there

    async def nameless(self) -> Browser:
        self.hub.limits = Limits(name=0.01)
        return await browser(self.wire, self.http)

    async def replaced(self) -> Browser:
        ann = await self.ann()
        self.wire(b'{"type":"hello","name":"ann","token":"%b"}\n' % self.token.encode())
        return ann

    async def kicked(self) -> Browser:
        ann = await self.ann()
        self.hub.open_tick()
        kick(self.hub.sessions["ann"])
        return ann

    async def lost(self) -> Browser:
        ann = await self.ann()
        self.lose()
        return ann

    async def lost_in_quit(self) -> Browser:
        ann, ben = await self.ann(), await program(self.wire, b"ben", b"true")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        ann.say(type="msg", id=1, text="hi")
        ann.say(type="quit")
        await until(lambda: b'"hi"' in ben.sent)
        ann.frames()
        self.lose()
        return ann

    def lose(self) -> None:
        self.hub.open_tick()
        self.hub.sessions["ann"].name_lost()

    async def ended(self) -> Browser:
        ann = await self.ann()
        ann.wire.end()
        return ann

    async def reset(self) -> Browser:
        ann = await self.ann()
        ann.wire.reset()
        return ann

    async def broken(self) -> Browser:
        ann = await self.ann()

        def pump(*_: object) -> None:
            self.monkeypatch.undo()
            raise RuntimeError("a defect")

        self.monkeypatch.setattr(connection_module.Connection, "pump", pump)
        ann.say(type="ping")
        return ann


HOW: Final[dict[str, list[Callable[[Place], Awaitable[Browser]]]]] = {
    "The client quits.": [lambda at: at.said(QUIT)],
    "The node stops, and the client hasn't moved": [Place.moving],
    "The node stops, and the client has no name.": [Place.stopped],
    "No name comes in time": [Place.nameless],
    "Another connection takes": [Place.replaced],
    "An operator disconnects": [Place.kicked],
    "The name is lost while": [Place.lost_in_quit],
    "The name is lost at another time.": [Place.lost],
    "The client sends a close frame.": [lambda at: at.said(close(3000)), lambda at: at.said(close(1000, b"bye"))],
    "The client quits, and sends": [lambda at: at.said(QUIT + close(3000)), lambda at: at.said(QUIT + close(1000))],
    "The client ends its stream": [Place.ended],
    "The connection is reset": [Place.reset],
    "A frame isn't masked": [
        lambda at: at.said(frame(b"x", mask=None)),
        lambda at: at.said(frame(b"x", reserved=4)),
        lambda at: at.said(frame(b"x", 0x3)),
        lambda at: at.said(frame(b"x", 0x0)),
        lambda at: at.said(frame(b"x", 0x9, fin=False)),
        lambda at: at.said(frame(b"x" * 126, 0x9)),
        lambda at: at.said(close(1005)),
    ],
    "A message is binary.": [lambda at: at.said(frame(b"x", 0x2))],
    "A text or a reason": [lambda at: at.said(frame(b"\xff")), lambda at: at.said(close(1000, b"\xff"))],
    "A message is too long.": [lambda at: at.said(frame(b" " * 70_000))],
    "The node has a defect.": [Place.broken],
}
CASES = [(how, number) for how, ways in HOW.items() for number in range(len(ways))]
OWN = [3000, 1000]


def test_every_row_is_tried() -> None:
    assert len(rows()) == len(HOW)
    for how in HOW:
        assert [row for row in rows() if row.startswith(how)], how


@pytest.mark.parametrize(("how", "number"), CASES)
async def test_a_connection_ends_as_the_table_says(
    how: str, number: int, hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = [row for text, row in rows().items() if text.startswith(how)]
    place = Place(hub, wire, monkeypatch)
    ann = await HOW[how][number](place)
    frames = re.findall(r"`(\w+)`", row.frames)
    if row.code.startswith("–"):
        code = None
        await until(lambda: ann.seen or not frames)
    else:
        code = int(row.code) if row.code.isdigit() else OWN[number] if "own" in row.code else None
        await until(lambda: [one.opcode for one in ann.seen][-1:] == [CLOSE])
    told = list[str]()
    for one in ann.seen:
        if one.opcode == TEXT:
            said = json.loads(one.payload)
            told += [said["type"], *([said["code"]] if "code" in said else [])]
    assert told[-len(frames) :] == frames if frames else not told
    assert ann.closes == ([code] if not row.code.startswith("–") else [])
    match row.session.partition(":")[0]:
        case "is over":
            await until(lambda: "ann" not in hub.sessions)
        case "waits":
            await until(lambda: hub.sessions["ann"].away)
        case "goes on there":
            await until(lambda: not hub.sessions["ann"].away and hub.sessions["ann"].client is not ann.wire.connection)
        case "–":
            assert not hub.sessions
        case other:
            raise AssertionError(other)
