"""What one client is told: gathered in the turn of the loop, written once. The writing half of a connection."""

import asyncio
from collections.abc import Iterable
from typing import cast

from relay.hub.hub import Router
from relay.protocol.dialects import CLASSIC, JSON, Dialect
from relay.protocol.events import Acked, Event, Messages
from relay.session.client_connection import Outlet
from relay.session.session import Session


class Replies(asyncio.BufferedProtocol):
    """Knows a dialect, once that has been picked, and the session that speaks it."""

    __slots__ = (
        "_ack",
        "_dialect",
        "_out",
        "_out_bytes",
        "_router",
        "_transport",
        "_write_paused",
        "_wrote",
        "closing",
        "session",
    )

    _transport: asyncio.Transport

    def __init__(self, router: Router, dialect: Dialect | None, session: Session) -> None:
        self._router = router
        self._dialect = dialect
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._ack: Acked | None = None  # held back: more are to come
        self._write_paused = False  # something isn't in the kernel yet
        self._wrote = False  # something may be on its way to the peer
        self.closing = False  # nothing will be told any more; what was is still written
        self.session = session

    def tell(self, event: Event) -> bool:
        """See `Outlet`."""
        dialect = self._dialect
        if dialect is None or self.closing:
            return True
        if type(event) is Acked:
            if dialect is JSON and self._hold(event):
                return False
        elif self._ack is not None:
            self.tell_ack()
        if dialect is CLASSIC and isinstance(event, Messages) and len(event.texts) > 1:
            for one in _apart(event):
                self.tell(one)
        elif data := dialect.render(event):
            self._out.append(data)
            self._out_bytes += len(data)
        return True

    def _hold(self, ack: Acked) -> bool:
        """Hold an acknowledgement back if another one is to come that says the same and more.

        A client that keeps several messages under way is told once what it would be told many times: up to a third of
        all CPU (docs/performance.md). One that waits for its acknowledgement before it goes on has nothing else under
        way, and gets it at once.
        """
        held, chat = self._ack, self.session.chat
        if held is not None and held.chat != ack.chat:
            self.tell_ack()
            held = None
        if chat is None or chat.id != ack.chat or not chat.window.count:
            self._ack = None
            return False
        if held is None or held.id < ack.id:
            self._ack = ack
        if held is None:
            self._router.held_acks.add(cast(Outlet, self))  # the other half is there
        return True

    def tell_ack(self) -> bool:
        """Tell the acknowledgement that was held back. False: there is none."""
        ack, self._ack = self._ack, None
        if ack is None or self._dialect is None or self.closing:
            return False
        data = self._dialect.render(ack)
        self._out.append(data)
        self._out_bytes += len(data)
        return True

    @property
    def behind(self) -> bool:
        """The client has still to read what it was told before."""
        return self._write_paused

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self._write_paused = True

    def _write(self) -> None:
        """Give the kernel what gathered."""
        out, self._out, self._out_bytes = self._out, [], 0
        self._wrote = True
        if self._dialect is CLASSIC:
            self._write_apart(out)
        else:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _write_apart(self, out: list[bytes]) -> None:
        """Each reply by itself: the classic client takes what one read returns for one reply."""
        for index, data in enumerate(out):
            if self._write_paused:
                self._out = out[index:]
                self._out_bytes = sum(map(len, self._out))
                return
            self._transport.write(data)


def _apart(event: Messages) -> Iterable[Messages]:
    """One event a message: the classic client gets each in a write of its own."""
    id, sender, chat, texts, at = event.id, event.sender, event.chat, event.texts, event.at
    return [Messages(id + n, sender, chat, [text], at) for n, text in enumerate(texts)]
