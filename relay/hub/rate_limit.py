"""Limits the rate of a client's requests by token buckets. The caller passes the time, and nothing here does I/O."""

from math import inf
from typing import Final

from relay.session.runtime_interface import Limits

MINUTE: Final = 60.0


class TokenBucket:
    """Token bucket: N tokens per minute, burst N."""

    __slots__ = ("_at", "_left", "_most")

    def __init__(self, a_minute: int, now: float) -> None:
        self._most = self._left = float(a_minute)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token. Returns False if there is none."""
        self._left = min(self._most, self._left + (now - self._at) * self._most / MINUTE)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def full(self, now: float) -> bool:
        """Return whether the bucket is full again, so that it may be forgotten."""
        return self._left + (now - self._at) * self._most / MINUTE >= self._most


class ClientSource:
    """The source of a connection. This base class stands for an unknown one.

    `claims` limits the claims from its address. `peer` is the client's address if that isn't the socket's, or empty.
    """

    __slots__ = ("claims", "peer")

    def __init__(self, claims: TokenBucket | None = None, peer: str = "") -> None:
        self.claims = claims
        self.peer = peer

    def left(self) -> None:
        """Note that the connection is gone. This must be called once."""

    def moved(self) -> None:
        """Note that the connection counts for another source from now on. It takes the place of `left`."""


NOWHERE: Final = ClientSource()


class RateLimiter:
    """Limits one client's lines and bytes per second and its calls per minute, as `limits` says.

    `claims` is the bucket of its address. Lines and bytes are refilled only once they are used up, so a client that was
    silent may send two seconds' worth at once.
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
        """Count the lines and bytes of one read. Returns True if `debt` must be called now."""
        self._lines_left -= lines
        self._bytes_left -= bytes
        return self._lines_left < 0 or self._bytes_left < 0

    def debt(self, now: float) -> float:
        """Refill lines and bytes, and return for how many seconds nothing more should be read."""
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
        """Return whether the client may ask for a name now, and count that."""
        return self._claims is None or self._claims.take(now)

    def may_call(self, now: float) -> bool:
        """Return whether the client may call or look up a user now, and count that."""
        if not self._limits.calls:
            return True
        if self._calls is None:
            self._calls = TokenBucket(self._limits.calls, now)
        return self._calls.take(now)
