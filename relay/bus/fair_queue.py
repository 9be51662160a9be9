"""A fair queue of the peer messages that wait for room on a link. No I/O.

It is self-clocked fair queueing (Golestani, 1994) by recipient. The recipient who has had less of the link comes first,
so a short message passes the floods for thousands of others. Only messages for one recipient keep their order.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from relay.session.peer_messages import Mail, Text

# The assumed size of a message without its texts.
MAIL_BYTES: Final = 64
# The credit of a recipient that had less than its share: as much as one flood has waiting. Without it a short message
# would wait until each flood had sent its next piece.
CREDIT_BYTES: Final = 64 * 1024


def cost(mail: Mail) -> int:
    """Return roughly how many bytes the message takes in a frame."""
    return MAIL_BYTES + sum(map(len, mail.texts)) if type(mail) is Text else MAIL_BYTES


class FairQueue:
    """A queue of messages, ordered by virtual finish time."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Mail]] = []  # by finish time, then by arrival; empty without any messages
        self._finish: dict[str, int] = {}  # the finish time of the last message for each recipient
        self._now = 0  # the virtual time: the latest finish time of a message that has left
        self._came = 0

    def __bool__(self) -> bool:
        return bool(self.heap)

    def extend(self, mails: Sequence[Mail]) -> None:
        """Add messages."""
        earliest, finish = self._now - CREDIT_BYTES, self._finish
        for mail in mails:
            finish[mail.to] = due = max(earliest, finish.get(mail.to, earliest)) + cost(mail)
            self._came += 1
            heappush(self.heap, (due, self._came, mail))

    def take(self, room: int) -> list[Mail]:
        """Remove and return the next messages; the last one begins within `room` bytes and may end beyond them."""
        taken: list[Mail] = []
        while self.heap and room > 0:
            finish, _, mail = heappop(self.heap)
            self._now = max(self._now, finish)
            taken.append(mail)
            room -= cost(mail)
        if not self.heap:
            self._finish.clear()
        return taken
