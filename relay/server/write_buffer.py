"""Write-side buffer of one connection: what its client is told gathers in a turn of the loop, and is written once."""

import asyncio
from collections.abc import Iterable

from relay.hub.delayed_acks import DelayedAcks
from relay.protocol.dialects import CLASSIC, JSON, Dialect
from relay.protocol.events import Acked, Event, Messages
from relay.session.memory_budget import MESSAGE_BYTES
from relay.session.session import Session


class WriteBuffer:
    """Renders events, and hands their bytes to the transport. An acknowledgement may be held back for a moment.

    The transport needs a write buffer limit of 0: it pauses exactly while the kernel hasn't got everything.
    """

    __slots__ = (
        "_ack",
        "_held_acks",
        "_out",
        "_transport",
        "behind",
        "closed",
        "dialect",
        "session",
        "size",
        "wrote",
    )

    def __init__(
        self, transport: asyncio.WriteTransport, dialect: Dialect | None, session: Session, held_acks: DelayedAcks
    ) -> None:
        self._transport = transport
        self.dialect = dialect  # None until the client has said something; until then it is told nothing
        self.session = session
        self._held_acks = held_acks
        self._out: list[bytes] | tuple[()] = ()  # an empty list would cost every idle client 64 bytes
        self.size = 0  # bytes that wait in `_out`
        self._ack: Acked | None = None  # is held back, because more are to come
        self.behind = False  # the transport is paused: the client has still to read what was written
        self.wrote = False  # something may be on its way to the peer
        self.closed = False  # nothing more is added; what was added before is still written

    def tell(self, event: Event) -> bool:
        """Add an event to what the client is told. Returns False if no flush is needed: the ack was held back."""
        dialect = self.dialect
        if dialect is None or self.closed:
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
            if self._out:
                self._out.append(data)
            else:
                self._out = [data]
            self.size += len(data)
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
            self._held_acks.add(self.session)
        return True

    def tell_ack(self) -> bool:
        """Add the acknowledgement that was held back. Returns False if there is none."""
        ack, self._ack = self._ack, None
        if ack is None or self.dialect is None or self.closed:
            return False
        data = self.dialect.render(ack)
        if self._out:
            self._out.append(data)
        else:
            self._out = [data]
        self.size += len(data)
        return True

    def flush(self) -> None:
        """Write everything that gathered; a classic client may get only the first part of it now."""
        out, self._out, self.size = self._out, (), 0
        self.wrote = True
        if self.dialect is CLASSIC:
            self._write_apart(out)
        else:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _write_apart(self, out: list[bytes] | tuple[()]) -> None:
        """Write each reply by itself: the classic client takes what one read returns for one reply."""
        for index, data in enumerate(out):
            if self.behind:
                self._out = list(out[index:])
                self.size = sum(map(len, self._out))
                return
            self._transport.write(data)

    def close(self) -> None:
        """Add nothing more from now on, but for the acknowledgement that was held back."""
        self.tell_ack()
        self.closed = True

    def clear(self) -> None:
        """Close, and forget what wasn't written: nobody is left to read it."""
        self.closed = True
        self._out, self.size = (), 0

    @property
    def held_bytes(self) -> int:
        """Memory that it holds at the moment."""
        return self.size + MESSAGE_BYTES * len(self._out)


def _apart(event: Messages) -> Iterable[Messages]:
    """One event a message: the classic client gets each in a write of its own."""
    id, sender, chat, texts, at = event.id, event.sender, event.chat, event.texts, event.at
    return [Messages(id + n, sender, chat, [text], at) for n, text in enumerate(texts)]
