"""Mail that waits for room on a link, shared out fairly among those it is for. No I/O.

Self-clocked fair queueing (Golestani, 1994) by recipient: a few words for somebody pass the floods of thousands, for
whoever has had less of the link comes first. Mail for one recipient keeps its order; that of different ones may not.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from relay.session.peer_messages import Mail, Text

# What a piece of mail is reckoned at beside its texts.
MAIL_BYTES: Final = 64
# By so much may somebody who had less than its share come before the others: all that one flood has waiting. Without
# it a word would wait until each of the floods had its next piece.
CREDIT_BYTES: Final = 64 * 1024


def cost(mail: Mail) -> int:
    """About the bytes that it takes in a frame."""
    return MAIL_BYTES + sum(map(len, mail.texts)) if type(mail) is Text else MAIL_BYTES


class FairQueue:
    """What waits, in the order in which it is to leave."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Mail]] = []  # by finish, then as it came
        self._finish: dict[str, int] = {}  # of the last mail for each recipient
        self._now = 0  # the latest finish of what has left
        self._came = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def extend(self, mails: Sequence[Mail]) -> None:
        """More mail has to wait."""
        earliest, finish = self._now - CREDIT_BYTES, self._finish
        for mail in mails:
            finish[mail.to] = due = max(earliest, finish.get(mail.to, earliest)) + cost(mail)
            self._came += 1
            heappush(self._heap, (due, self._came, mail))

    def take(self, room: int) -> list[Mail]:
        """What leaves next: as much as begins within `room` bytes."""
        taken: list[Mail] = []
        while self._heap and room > 0:
            finish, _, mail = heappop(self._heap)
            self._now = max(self._now, finish)
            taken.append(mail)
            room -= cost(mail)
        if not self._heap:
            self._finish.clear()
        return taken
