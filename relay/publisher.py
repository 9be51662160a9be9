"""The publishing end of the bus on one server. Most PUBLISHes are sent so that the server doesn't answer.

An answer costs the server a write and this node a turn of the loop, and only says that it's there. To do without most
of them saved a quarter of the server's CPU at 5,000 messages a second over 500 pairs in most measurements
(docs/performance.md). So of ANSWERED PUBLISHes one is answered, for those before it too: a server carries out a
connection's commands in order. What is refused (rights, a server that is loading) is refused each time, so that is
noticed as well.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from relay.redis_client.connection import Command, RespConnection, pack
from relay.redis_client.dialing import Connection

# Of so many PUBLISHes one is answered. Half of what may be under way (publishing.UNDER_WAY), so that a server that
# keeps up never holds anything up.
ANSWERED: Final = 4

_SKIP: Final = ("CLIENT", "REPLY", "SKIP")  # the answer of the next command
_SKIPPED: Final = pack(_SKIP)


class Publisher(RespConnection):
    """Calls `answered(reply, count)`: so many commands were carried out, or refused.

    Whether the server lets answers be skipped is tried with `trial`, a command that may be carried out twice; a server
    or a user without that right answers everything.
    """

    def __init__(self, connection: Connection, answered: Callable[[Any, int], None], trial: Command) -> None:
        """Take over a connection that is set up and idle."""
        super().__init__(connection, self._heard)
        self._answered = answered
        self._owed: deque[int] = deque([0])  # for how many commands each answer that is to come stands
        self._silent = 0  # sent since then without asking for an answer
        self._may_skip: bool | None = None  # not known yet
        super().send(_SKIP, trial, trial)

    def send(self, *commands: Command) -> None:
        """Write commands at once, as a RespConnection does."""
        if not self._may_skip:
            self._owed.extend([1] * len(commands))
            super().send(*commands)
            return
        self._silent += len(commands)
        words = [word for command in commands for word in (_SKIPPED, pack(command))]
        if self._silent >= ANSWERED:
            del words[-2]
            self._owed.append(self._silent)
            self._silent = 0
        self._write(b"".join(words))

    def _heard(self, reply: Any) -> None:
        if self._may_skip is None:
            self._may_skip = not isinstance(reply, Exception)
            if not self._may_skip:
                self._owed.appendleft(0)  # this refusal is followed by both trials' answers
                return
        self._answered(reply, self._owed.popleft())
