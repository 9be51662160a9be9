"""Write-side buffer of one connection: it collects a tick's replies, and writes them once."""

import asyncio
from collections.abc import Iterable

from relay.hub.delayed_client_acks import DelayedClientAcks
from relay.protocol.commands_and_events import Acked, Event, Messages
from relay.protocol.dialects import CLASSIC, JSON, Dialect
from relay.session.memory_budget import MESSAGE_BYTES
from relay.session.session import Session
from relay.web.dialect import WEB


class WriteBuffer:
    """Renders events and passes their bytes to the transport. It may delay an acknowledgement for a moment.

    The transport needs a write buffer limit of 0, so that it pauses exactly while the kernel lacks some bytes.
    """

    __slots__ = (
        "_ack",
        "_delayed_acks",
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
        self,
        transport: asyncio.WriteTransport,
        dialect: Dialect | None,
        session: Session,
        delayed_acks: DelayedClientAcks,
    ) -> None:
        self._transport = transport
        self.dialect = dialect  # None until the client's first byte; until then nothing is sent
        self.session = session
        self._delayed_acks = delayed_acks
        self._out: list[bytes] | tuple[()] = ()  # an empty list would cost every idle client 64 bytes
        self.size = 0  # bytes in `_out`
        self._ack: Acked | None = None  # the delayed acknowledgement
        self.behind = False  # the transport is paused: the client has still to read some written bytes
        self.wrote = False  # some bytes may not have reached the peer yet
        self.closed = False  # nothing more is added; earlier replies are still written

    def tell(self, event: Event) -> bool:
        """Add an event for the client. Returns False if no flush is needed (the ack was delayed)."""
        dialect = self.dialect
        if dialect is None or self.closed:
            return True
        if type(event) is Acked:
            if (dialect is JSON or dialect is WEB) and self._hold(event):
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
        """Delay an acknowledgement if a later one will cover it. Returns whether it was delayed.

        A client with several messages in flight then gets one acknowledgement for all of them, which saves up to a
        third of all CPU (docs/performance.md). A client that waits for each acknowledgement has nothing else in flight,
        and gets it at once.
        """
        held, chat = self._ack, self.session.chat
        if held is not None and held.chat != ack.chat:
            self.tell_ack()
            held = None
        if chat is None or chat.id != ack.chat or not chat.unacked.count:
            self._ack = None
            return False
        if held is None or held.id < ack.id:
            self._ack = ack
        if held is None:
            self._delayed_acks.add(self.session)
        return True

    def tell_ack(self) -> bool:
        """Add the delayed acknowledgement. Returns False if there is none."""
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
        """Write all collected replies. A classic client may get only the first ones now."""
        out, self._out, self.size = self._out, (), 0
        self.wrote = True
        if self.dialect is CLASSIC:
            self._write_apart(out)
        else:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _write_apart(self, out: list[bytes] | tuple[()]) -> None:
        """Write each reply separately: a classic client takes the bytes of one read for one reply."""
        for index, data in enumerate(out):
            if self.behind:
                self._out = list(out[index:])
                self.size = sum(map(len, self._out))
                return
            self._transport.write(data)

    def close(self) -> None:
        """Add the delayed acknowledgement, and nothing after it."""
        self.tell_ack()
        self.closed = True

    def clear(self) -> None:
        """Close, and drop unwritten replies, which nobody is left to read."""
        self.closed = True
        self._out, self.size = (), 0

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that the unwritten replies take."""
        return self.size + MESSAGE_BYTES * len(self._out)


def _apart(event: Messages) -> Iterable[Messages]:
    """Return one event for each message: a classic client gets each in a separate write."""
    id, sender, chat, texts, at = event.id, event.sender, event.chat, event.texts, event.at
    return [Messages(id + n, sender, chat, [text], at) for n, text in enumerate(texts)]
