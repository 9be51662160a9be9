"""Lets those in who have no name yet: one after the other, and only a few at a time while others talk.

A thousand programs whose node died come back at once. Each costs half a millisecond here and a quarter in Redis: at
full speed they are a second in which everybody else's messages wait.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from relay.session.client_connection import ClientConnection

# While others talk: so many in each tick, a fifth of a core.
TICK_SECONDS: Final = 0.005
AT_ONCE: Final = 2
# Of a crowd more at once: all have had their turn after so long, however many they are, as far as the node can.
# A client that hears nothing tries elsewhere in the end (pairchat after 6 s), and would wait there again.
CROWD_SECONDS: Final = 4.0
# While nobody talks: so many in each turn of the loop, some milliseconds.
TURN: Final = 16
# After its last message a chat is taken to go on for so long.
TALK_SECONDS: Final = 2.0


class LoginQueue:
    """The queue of a node's newcomers. A turn is good for one line: a name, or a token.

    `call(newcomer)` is called when the newcomer's turn has come: it's to ask again at once.
    """

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], object], call: Callable[[ClientConnection], None]
    ) -> None:
        self._call_later = call_later
        self._call = call
        self._waiting: OrderedDict[ClientConnection, None] = OrderedDict()
        self._crowd = 0  # the most that waited, since nobody did
        self._called: set[ClientConnection] = set()
        self._left = AT_ONCE
        self._armed = False
        self._said = 0
        self._talk = 0.0  # seconds for which somebody is still taken to talk; 0: nobody is held up by newcomers

    def look(self, said: int, seconds: float, *, away: bool) -> None:
        """Told every so many seconds how many messages there have ever been, and whether Redis is away.

        While it is, newcomers only have to hear that.
        """
        left = TALK_SECONDS if said != self._said else max(0.0, self._talk - seconds)
        self._talk, self._said = 0.0 if away else left, said

    def admits(self, newcomer: ClientConnection) -> bool:
        """Whether it's this one's turn now; so it is if nobody waits. Else it is called when it is."""
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

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._call_later(TICK_SECONDS if self._talk else 0.0, self._tick)

    def _tick(self) -> None:
        self._armed = False
        self._called.clear()  # who was called and is gone
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
