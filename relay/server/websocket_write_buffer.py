"""Write-side buffer of one WebSocket connection: it also has control frames, and knows how the connection ends."""

import asyncio
from typing import Final

from relay.hub.delayed_client_acks import DelayedClientAcks
from relay.protocol.commands_and_events import Bye, Event, Moving, Quit, Refused, Replaced, Welcome
from relay.protocol.errors import Code
from relay.server.write_buffer import WriteBuffer
from relay.session.session import Session
from relay.web.dialect import WEB
from relay.web.frames import End, close_frame

# Close codes from 4000 on are an application's own (RFC 6455, 7.4.2).
DONE: Final = End(1000, "bye")
AWAY: Final = End(1001, "this node is going away")
REPLACED: Final = End(4000, "replaced")
KICKED: Final = End(4001, "kicked")
NAME_LOST: Final = End(4002, "name_lost")

# A node that closes without a word about it is going away.
_ENDS: Final[dict[type[Event], End]] = {Bye: DONE, Replaced: REPLACED, Moving: AWAY, Welcome: AWAY}
_LAST_WORDS: Final = frozenset({*_ENDS, Refused})
_REFUSALS: Final = {Code.KICKED: KICKED, Code.NAME_LOST: NAME_LOST}


class WebSocketWriteBuffer(WriteBuffer):
    """See `WriteBuffer`. `close` adds a close frame, whose code follows from what the client was told before."""

    __slots__ = ("_end_known", "end", "wrote_at")

    def __init__(self, transport: asyncio.WriteTransport, session: Session, delayed_acks: DelayedClientAcks) -> None:
        super().__init__(transport, WEB, session, delayed_acks)
        self.end = AWAY
        self._end_known = False  # whatever the client is told
        self.wrote_at = asyncio.get_running_loop().time()

    def tell(self, event: Event) -> bool:
        """See `WriteBuffer`."""
        if type(event) in _LAST_WORDS:
            self._note(event)
        return super().tell(event)

    def answer_end(self, end: End) -> None:
        """End with this code, which answers the client's close frame, whatever the client is told before."""
        self.end, self._end_known = end, True

    def _note(self, event: Event) -> None:
        if self._end_known:
            return
        if isinstance(event, Refused):
            # A client that loses its name goes on without one, unless it is about to quit.
            if event.code is not Code.NAME_LOST or isinstance(self.session.pending, Quit):
                self.end = _REFUSALS.get(event.code, self.end)
        # A client whose name is lost while it quits gets `bye` as well; the name is the news.
        elif not isinstance(event, Bye) or self.end is not NAME_LOST:
            self.end = _ENDS[type(event)]

    def add(self, frame: bytes) -> None:
        """Add a control frame, unless the close frame has been added."""
        if self.closed:
            return
        if self._out:
            self._out.append(frame)
        else:
            self._out = [frame]
        self.size += len(frame)

    def flush(self) -> None:
        """See `WriteBuffer`."""
        self.wrote_at = asyncio.get_running_loop().time()
        super().flush()

    def close(self) -> None:
        """Add the delayed acknowledgement and the close frame, and nothing after it."""
        self.tell_ack()
        self.add(close_frame(self.end))
        self.closed = True
