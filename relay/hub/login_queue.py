"""Admits clients without a name one after the other, and only a few at a time while others talk.

When a node dies, a thousand JSON clients may come back at once. Each costs half a millisecond here and a quarter in
Redis. At full speed they would delay the messages of all others for a second.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from relay.session.client_connection_interface import ClientConnection

# While others talk, `AT_ONCE` newcomers are admitted every `TICK_SECONDS`, which takes a fifth of a core.
TICK_SECONDS: Final = 0.005
AT_ONCE: Final = 2
# A larger crowd is admitted faster, so that everyone's turn comes within this time, if the node is fast enough.
# A client that hears nothing tries elsewhere in the end (pairchat after 6 s), and would wait there again.
CROWD_SECONDS: Final = 4.0
# While no other client talks, this many are admitted in each iteration of the loop, which takes some milliseconds.
TURN: Final = 16
# Clients count as talking for this long after the last message.
TALK_SECONDS: Final = 2.0


class LoginQueue:
    """The queue of a node's clients without a name. Each admission is for one line, with a name or a token.

    `call(newcomer)` is called when the newcomer's turn has come; it must then call `admits` again at once.
    """

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], object], call: Callable[[ClientConnection], None]
    ) -> None:
        self._call_later = call_later
        self._call = call
        self._waiting: OrderedDict[ClientConnection, None] = OrderedDict()
        self._crowd = 0  # the longest that the queue was since it was last empty
        self._called: set[ClientConnection] = set()
        self._left = AT_ONCE
        self._armed = False
        self._said = 0
        self._talk = 0.0  # seconds for which clients still count as talking; 0: newcomers delay no messages

    def update_talk(self, said: int, seconds: float, *, away: bool) -> None:
        """Update whether clients talk. This must be called every `seconds`; `said` is the total number of messages.

        `away` says that Redis is down. Newcomers aren't slowed down then, because they are only told that it is.
        """
        left = TALK_SECONDS if said != self._said else max(0.0, self._talk - seconds)
        self._talk, self._said = 0.0 if away else left, said

    def admits(self, newcomer: ClientConnection) -> bool:
        """Return True if admitted now; otherwise queue the newcomer and call it back."""
        if newcomer in self._called:
            self._called.discard(newcomer)
            return True
        if newcomer not in self._waiting:
            self._arm()
            if self._left and not self._waiting:
                self._left -= 1
                return True
            self._waiting[newcomer] = None
            self._crowd = max(self._crowd, len(self._waiting))
        return False

    def holds(self, newcomer: ClientConnection) -> bool:
        """Return whether this newcomer is in the queue, so that it will be called."""
        return newcomer in self._waiting

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._call_later(TICK_SECONDS if self._talk else 0.0, self._tick)

    def _tick(self) -> None:
        self._armed = False
        self._called.clear()  # those left were called and are gone
        self._left = TURN
        if self._talk:
            self._left = max(AT_ONCE, math.ceil(self._crowd * TICK_SECONDS / CROWD_SECONDS))
        while self._waiting and self._left:
            self._left -= 1
            newcomer, _ = self._waiting.popitem(last=False)
            self._called.add(newcomer)
            self._call(newcomer)
        if self._waiting:
            self._arm()
        else:
            self._crowd = 0
