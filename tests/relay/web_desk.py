"""WebSocket clients without sockets, at the core of a real node."""

import json
from collections.abc import Callable
from typing import Any

from relay.hub.hub import Hub
from relay.hub.rate_limit import ClientSource
from relay.server.http_exchange import HttpServer
from relay.web.forwarded import TrustedProxies
from relay.web.origins import OriginRules
from relay.web.page_files import PageFile, made
from relay.web.responder import HttpResponder
from tests.relay.desk import MAX_LINE, Connect, Wire, until
from tests.support.web import CLOSE, TEXT, Heard, frame, handshake, heard

PAGE = {"/": made(b"<!doctype html>", "html"), "/app.js": made(b"0", "js")}


def http_server(
    hub: Hub,
    *,
    max_line: int = MAX_LINE,
    page: dict[str, PageFile] | None = None,
    why_full: Callable[[], str] = str,
    move: Callable[[ClientSource, str], ClientSource | None] = lambda source, _: source,
    trusted: tuple[str, ...] = (),
) -> HttpServer:
    """What answers HTTP at a port."""
    responder = HttpResponder(OriginRules((), loopback=True), TrustedProxies(trusted), page)
    return HttpServer(hub, responder, max_line, why_full=why_full, move=move)


class Browser:
    """A WebSocket client on a wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._read = 0  # bytes

    def say(self, **fields: Any) -> None:
        """Say a frame of the protocol."""
        self.send(frame(json.dumps(fields).encode()))

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.wire.send(data)

    def frames(self) -> list[Heard]:
        """What came since the last time."""
        data = self.wire.sent[self._read :]
        self._read += len(data)
        return heard(data)

    @property
    def seen(self) -> list[Heard]:
        """What came since the last time; it comes again the next time."""
        return heard(self.wire.sent[self._read :])

    @property
    def closes(self) -> list[int | None]:
        """The codes of the close frames that have come; there may be one."""
        return [one.code for one in self.seen if one.opcode == CLOSE]

    async def told(self, type: str) -> dict[str, Any]:
        """The first message of this type since the last time. All up to now is seen."""
        await until(lambda: self._find(type))
        found = self._find(type)
        self.frames()
        assert found is not None
        return found

    def _find(self, type: str) -> dict[str, Any] | None:
        for one in self.seen:
            if one.opcode == TEXT and (said := json.loads(one.payload))["type"] == type:
                return dict(said)
        return None


async def browser(wire: Connect, http: HttpServer) -> Browser:
    """A client whose handshake is done."""
    there = wire(http=http)
    there.send(handshake())
    await until(lambda: there.sent.endswith(b"\r\n\r\n"))
    assert there.sent.startswith(b"HTTP/1.1 101 "), there.sent
    there.lines()
    return Browser(there)


async def user(wire: Connect, http: HttpServer, name: str, **more: Any) -> Browser:
    """A client with a name."""
    there = await browser(wire, http)
    there.say(type="hello", name=name, **more)
    await there.told("welcome")
    return there
