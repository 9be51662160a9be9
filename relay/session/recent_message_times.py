"""Keeps the times of one side's latest messages. A message's time is when a node first took it."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

# Times are kept for as many messages as outcomes (`relay.session.chat.OUTCOMES_KEPT`): 4 KiB after that many messages.
TIMES_KEPT: Final = 512
# This many old times are dropped at once, so that not every message moves the whole array.
TIMES_SPARE: Final = 256

_UNKNOWN: Final = 0.0


class RecentMessageTimes:
    """The Unix times of rising ids. A known time never changes."""

    __slots__ = ("_at", "_next")

    def __init__(self) -> None:
        self._at = array("d")  # the times of the ids just before `_next`, without a gap
        self._next = 1

    def note_next(self, id: int, count: int, at: float) -> bool:
        """Do as `note` if these are the next ids and there is room for them; if not, return False and do nothing."""
        if id != self._next or len(self._at) + count > TIMES_KEPT + TIMES_SPARE:
            return False
        if count == 1:
            self._at.append(at)
        else:
            self._at.extend(array("d", (at,)) * count)  # twice as fast as a list, for a run of 16
        self._next = id + count
        return True

    def note(self, id: int, count: int, at: float) -> bool:
        """Note that `count` messages from this id on were said at `at`. Returns False if one of the ids isn't new."""
        if self.note_next(id, count, at):  # true of most messages
            return True
        fresh = id >= self._next
        if not fresh:
            start = self._next - len(self._at)
            for known in range(max(id, start), min(id + count, self._next)):
                self._at[known - start] = self._at[known - start] or at
            count -= self._next - id
            id = self._next
        if count > 0:
            gap = id - self._next
            if gap >= TIMES_KEPT:
                del self._at[:]
            elif gap:
                self._at.extend([_UNKNOWN] * gap)
            self._at.extend([at] * min(count, TIMES_KEPT))
            self._next = id + count
            if len(self._at) > TIMES_KEPT:
                del self._at[:-TIMES_KEPT]
        return fresh

    def of(self, id: int) -> float | None:
        """Return the time of a message, or None if it isn't known any more."""
        index = id - self._next
        return self._at[index] or None if -len(self._at) <= index < 0 else None

    def runs(self, id: int, texts: list[str], at: float) -> Iterator[tuple[int, list[str], float]]:
        """Yield the texts, with ids from `id` on, in pieces of one time each: first id, texts, time.

        `at` is the time of those whose time isn't known.
        """
        start, since = 0, self.of(id) or at
        for index in range(1, len(texts)):
            now = self.of(id + index) or at
            if now != since:
                yield id + start, texts[start:index], since
                start, since = index, now
        yield id + start, texts[start:], since

    @property
    def latest(self) -> tuple[int, list[float]]:
        """The highest id, and the times of the ids up to it. A time of 0 isn't known."""
        return self._next - 1, self._at[-TIMES_KEPT:].tolist()

    def learn(self, last: int, times: Sequence[float]) -> None:
        """Add the times of another node's `latest`, where none is known yet."""
        for id, at in enumerate(times[-TIMES_KEPT:], last + 1 - min(len(times), TIMES_KEPT)):
            if at != _UNKNOWN and id > 0:
                self.note(id, 1, at)
