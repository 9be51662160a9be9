"""The publishing end of the bus on a single server. It has the server skip the replies to most PUBLISHes.

A reply costs the server a write and this node an iteration of its loop, and only shows that the server is there.
Without most replies, the server needed a quarter less CPU at 5,000 messages a second over 500 pairs in most
measurements (docs/performance.md). One of ANSWERED PUBLISHes therefore gets a reply, which covers those before it too,
as a server carries out a connection's commands in order. Refusals (rights, a server that is loading) are noticed as
well, since they repeat. The node's own probe always gets a reply.
"""

from collections.abc import Callable
from typing import Final

from relay.bus.reconnect import SILENT_SECONDS
from relay.redis_client.connection import Answered, RespConnection
from relay.redis_client.dialing import Command, Connection, pack

# One of this number of PUBLISHes gets a reply. It is half of those that may be under way (publisher.UNDER_WAY), so that
# a server that keeps up never delays anything.
ANSWERED: Final = 16

_SKIP: Final = ("CLIENT", "REPLY", "SKIP")  # skips the reply to the next command
_SKIPPED: Final = pack(_SKIP)
# Words of a refusal that concerns this command, and not the PUBLISH that follows it.
_SKIP_REFUSED: Final = ("'client", "subcommand")


class StandalonePublisherBackend(Answered):
    """Calls `answered(reply, count)` for each reply, with the number of commands that it covers.

    It tries with `trial`, a command that may be carried out twice, whether the server lets replies be skipped. If the
    server can't, or the user has no right to that, every command gets a reply.
    """

    def __init__(self, connection: Connection, answered: Callable[[object, int], None], trial: Command) -> None:
        """Take over a connection that is set up and idle."""
        super().__init__(connection, answered)
        self._silent = 0  # commands sent without a reply since the last one with a reply
        self._may_skip = False  # becomes true with the first reply that shows that replies may be skipped
        self._owe([0])
        RespConnection.send(self, _SKIP, trial, trial)

    def send(self, *commands: Command, ask: bool = False) -> None:
        """Write commands at once, as a RespConnection does. With `ask` they get a reply in any case."""
        if not self._may_skip:
            super().send(*commands)
            return
        self._silent += len(commands)
        packed = [b"", *map(pack, commands)]
        last = b""
        if ask or self._silent >= ANSWERED:
            last = packed.pop()
            self._owe([self._silent])
            self._silent = 0
        self._write(_SKIPPED.join(packed) + last)

    def probe(self, command: Command) -> None:
        """Write a command that gets a reply in any case, which shows that this connection works both ways."""
        self.send(command, ask=True)

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        """The connection to the only server."""
        return (self,)

    def silent(self, trouble: str) -> int:
        """Return 1 if there is trouble with the only server, else 0."""
        return int(bool(trouble))

    def forget(self, channel: str) -> None:
        """Do nothing, as this publisher remembers no channels."""

    def give_up_silent(self) -> bool:
        """Close the connection if its replies don't come. Return whether it was closed."""
        if self.silence < SILENT_SECONDS:
            return False
        self.abort()
        return True

    def _heard(self, reply: object) -> None:
        """Learn from the first reply whether replies may be skipped. All later ones are ordinary replies."""
        self._on_reply = super()._heard
        self._may_skip = not _refuses_to_skip(reply)
        if self._may_skip:
            super()._heard(reply)
        else:
            self._owed.appendleft(0)  # the replies to both trials follow this refusal


def _refuses_to_skip(reply: object) -> bool:
    return isinstance(reply, Exception) and any(sign in str(reply).lower() for sign in _SKIP_REFUSED)
