"""How fast somebody may go on: token buckets, reckoned only when they seem to be empty. No I/O; the time is told."""

from math import inf
from typing import Final

from relay.session.runtime import Limits

MINUTE: Final = 60.0


class TokenBucket:
    """So many times a minute, all of them at once if need be; each comes back a while after it was used."""

    __slots__ = ("_at", "_left", "_most")

    def __init__(self, a_minute: int, now: float) -> None:
        self._most = self._left = float(a_minute)
        self._at = now

    def take(self, now: float) -> bool:
        """Use one, if there is one."""
        self._left = min(self._most, self._left + (now - self._at) * self._most / MINUTE)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def full(self, now: float) -> bool:
        """Whether all of them are back: the bucket might as well be forgotten."""
        return self._left + (now - self._at) * self._most / MINUTE >= self._most


class ClientSource:
    """Where a connection comes from; here, nowhere in particular.

    `claims`: what its address may ask for. `peer`: its address, where that isn't the socket's.
    """

    __slots__ = ("claims", "peer")

    def __init__(self, claims: TokenBucket | None = None, peer: str = "") -> None:
        self.claims = claims
        self.peer = peer

    def left(self) -> None:
        """To be called once the connection is gone."""


NOWHERE: Final = ClientSource()


class RateLimiter:
    """What one client may say: lines and bytes a second and calls a minute, as its limits have it.

    `claims`: those of its address. Lines and bytes are refilled only once they are used up, so a client that was silent
    may say two seconds' worth at once.
    """

    __slots__ = ("_at", "_bytes_left", "_calls", "_claims", "_limits", "_lines_left")

    def __init__(self, limits: Limits, claims: TokenBucket | None = None) -> None:
        self._limits = limits
        self._lines_left: float = limits.lines or inf
        self._bytes_left: float = limits.bytes or inf
        self._at = -inf
        self._claims = claims
        self._calls: TokenBucket | None = None  # most clients call once

    def spend(self, lines: int, bytes: int) -> bool:
        """Count what was read. Whether `debt` has to be asked for now. Once a read, however much that brought."""
        self._lines_left -= lines
        self._bytes_left -= bytes
        return self._lines_left < 0 or self._bytes_left < 0

    def debt(self, now: float) -> float:
        """For how many seconds nothing more should be read, now that what came back meanwhile is counted."""
        passed, self._at = now - self._at, now
        lines, bytes, owed = self._limits.lines, self._limits.bytes, 0.0
        if lines:
            self._lines_left = min(lines, self._lines_left + passed * lines)
            owed = max(owed, -self._lines_left / lines)
        if bytes:
            self._bytes_left = min(bytes, self._bytes_left + passed * bytes)
            owed = max(owed, -self._bytes_left / bytes)
        return owed

    def may_claim(self, now: float) -> bool:
        """Whether it may ask for a name once more."""
        return self._claims is None or self._claims.take(now)

    def may_call(self, now: float) -> bool:
        """Whether it may call, or look, somebody up once more."""
        if not self._limits.calls:
            return True
        if self._calls is None:
            self._calls = TokenBucket(self._limits.calls, now)
        return self._calls.take(now)
