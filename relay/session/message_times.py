"""When the latest messages of one side were said. A message has one time: that at which a node first took it."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

# As many as outcomes are remembered (`relay.session.chat.FATES_KEPT`): 4 KiB for a side that has said so much.
TIMES_KEPT: Final = 512
# Dropped at once, so that not every message moves all of them.
TIMES_SPARE: Final = 256

_UNKNOWN: Final = 0.0


class MessageTimes:
    """The times of ids, which rise. A time that is known stays, whatever is said later."""

    __slots__ = ("_at", "_next")

    def __init__(self) -> None:
        self._at = array("d")  # of the ids before `_next`, without a gap
        self._next = 1

    def note(self, id: int, count: int, at: float) -> bool:
        """`count` messages from this id on were said then. Returns False if something was known of one of them."""
        if id == self._next and len(self._at) + count <= TIMES_KEPT + TIMES_SPARE:  # most are
            if count == 1:
                self._at.append(at)
            else:
                self._at.extend(array("d", (at,)) * count)  # twice as fast as with a list, for a run of 16
            self._next = id + count
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
        """When that was said; None where nobody remembers."""
        index = id - self._next
        return self._at[index] or None if -len(self._at) <= index < 0 else None

    def runs(self, id: int, texts: list[str], at: float) -> Iterator[tuple[int, list[str], float]]:
        """Texts with ids from this one on, cut where the time changes. `at`: of those whose time isn't known."""
        start, since = 0, self.of(id) or at
        for index in range(1, len(texts)):
            now = self.of(id + index) or at
            if now != since:
                yield id + start, texts[start:index], since
                start, since = index, now
        yield id + start, texts[start:], since

    @property
    def latest(self) -> tuple[int, list[float]]:
        """The highest id, and the times up to it; 0 where none is known."""
        return self._next - 1, self._at[-TIMES_KEPT:].tolist()

    def learn(self, last: int, times: Sequence[float]) -> None:
        """Somebody else's `latest`."""
        for id, at in enumerate(times[-TIMES_KEPT:], last + 1 - min(len(times), TIMES_KEPT)):
            if at != _UNKNOWN and id > 0:
                self.note(id, 1, at)
