"""The publishing end of the bus on one server. Most PUBLISHes are sent so that the server doesn't answer.

An answer costs the server a write and this node a turn of the loop, and only says that it's there. To do without most
of them saved a quarter of the server's CPU at 5,000 messages a second over 500 pairs in most measurements
(docs/performance.md). So of ANSWERED PUBLISHes one is answered, for those before it too: a server carries out a
connection's commands in order. What is refused (rights, a server that is loading) is refused each time, so that is
noticed as well. The node's own probe is always answered.
"""

from collections.abc import Callable
from typing import Final

from relay.bus.reconnect import SILENT_SECONDS
from relay.redis_client.connection import Answered, RespConnection
from relay.redis_client.dialing import Command, Connection, pack

# Of so many PUBLISHes one is answered. Half of what may be under way (publishing.UNDER_WAY), so that a server that
# keeps up never holds anything up.
ANSWERED: Final = 16

_SKIP: Final = ("CLIENT", "REPLY", "SKIP")  # the answer of the next command
_SKIPPED: Final = pack(_SKIP)
# How servers name that command where they refuse it, and not the PUBLISH that follows it.
_SKIP_REFUSED: Final = ("'client", "subcommand")


class PipelinedPublisher(Answered):
    """Calls `answered(reply, count)`: so many commands were carried out, or refused.

    Whether the server lets answers be skipped is tried with `trial`, a command that may be carried out twice; a server
    or a user without that right answers everything.
    """

    def __init__(self, connection: Connection, answered: Callable[[object, int], None], trial: Command) -> None:
        """Take over a connection that is set up and idle."""
        super().__init__(connection, answered)
        self._silent = 0  # sent since then without asking for an answer
        self._may_skip = False  # not known yet
        self._owe([0])
        RespConnection.send(self, _SKIP, trial, trial)

    def send(self, *commands: Command, ask: bool = False) -> None:
        """Write commands at once, as a RespConnection does. `ask`: have them answered in any case."""
        if not self._may_skip:
            super().send(*commands)
            return
        self._silent += len(commands)
        words = [word for command in commands for word in (_SKIPPED, pack(command))]
        if ask or self._silent >= ANSWERED:
            del words[-2]
            self._owe([self._silent])
            self._silent = 0
        self._write(b"".join(words))

    def probe(self, command: Command) -> None:
        """Write a command that is answered in any case: the answer shows that this connection works both ways."""
        self.send(command, ask=True)

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        """The connection to the only server that there is."""
        return (self,)

    def silent(self, trouble: str) -> int:
        """One, if there is trouble with the only server that there is."""
        return int(bool(trouble))

    def forget(self, channel: str) -> None:
        """Nothing is remembered here of a channel."""

    def give_up_silent(self) -> bool:
        """Give the connection up, and return True, if its answers don't come."""
        if self.silence < SILENT_SECONDS:
            return False
        self.abort()
        return True

    def _heard(self, reply: object) -> None:
        """Learn from the first reply whether answers may be skipped. All others are answers and no more."""
        self._on_reply = super()._heard
        self._may_skip = not _refuses_to_skip(reply)
        if self._may_skip:
            super()._heard(reply)
        else:
            self._owed.appendleft(0)  # this refusal is followed by both trials' answers


def _refuses_to_skip(reply: object) -> bool:
    return isinstance(reply, Exception) and any(sign in str(reply).lower() for sign in _SKIP_REFUSED)
