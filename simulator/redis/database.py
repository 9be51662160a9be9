"""The keys of one logical database, with their values and the times at which they expire.

Every change goes through one of six methods, and is written to a journal. A replica that applies the entries of the
journal in their order has the same data; that is how Redis replicates scripts, too, since version 7.
"""

from collections.abc import Callable, Iterator
from copy import copy
from typing import Final, TypeAlias

from simulator.redis.replies import WrongType

Hash: TypeAlias = dict[bytes, bytes]
Value: TypeAlias = bytes | Hash
# A change: the number of the database, the name of the method, and its arguments.
Change: TypeAlias = tuple[int, str, tuple[bytes | int, ...]]

_NEVER: Final = 1 << 63


class Database:
    """The keys of one database. `now` is the server's time in milliseconds, which the server sets.

    A key whose time is over is missing for all readers. A primary then deletes it, and tells its replicas so. A replica
    keeps it until it is told: its clock may be ahead.
    """

    __slots__ = ("_number", "_soonest", "data", "expires", "journal", "now", "obeys")

    def __init__(self, number: int, journal: Callable[[Change], None]) -> None:
        self.data: dict[bytes, Value] = {}
        self.expires: dict[bytes, int] = {}  # Unix time in milliseconds
        self.journal = journal
        self.now = 0
        self.obeys = False  # whether this is a replica's, which deletes nothing by itself
        self._number = number
        self._soonest = _NEVER  # no key expires before that

    # --- reading

    def get(self, key: bytes) -> Value | None:
        """Return the value of a key, or None if it is missing."""
        value = self.data.get(key)
        if value is not None and key in self.expires and self.expires[key] <= self.now:
            self._expire(key)
            return None
        return value

    def string(self, key: bytes) -> bytes | None:
        """Return the string at a key. Raises WrongType."""
        value = self.get(key)
        if value is not None and not isinstance(value, bytes):
            raise WrongType
        return value

    def hash(self, key: bytes) -> Hash | None:
        """Return the hash at a key, which the caller may only read. Raises WrongType."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            raise WrongType
        return value

    def names(self) -> Iterator[bytes]:
        """Yield all keys that are there."""
        now, expires = self.now, self.expires
        return (key for key in self.data if expires.get(key, _NEVER) > now)

    # --- changes

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key to a string that doesn't expire."""
        self.data[key] = value
        self.expires.pop(key, None)
        self._note("put", key, value)

    def put_fields(self, key: bytes, *pairs: bytes) -> None:
        """Set fields of a hash, given as names and values in turn."""
        value = self.data.get(key)
        if not isinstance(value, dict):
            value = self.data[key] = {}
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._note("put_fields", key, *pairs)

    def delete_fields(self, key: bytes, *fields: bytes) -> None:
        """Delete fields of a hash, and the key with the last one."""
        value = self.data.get(key)
        if isinstance(value, dict):
            for field in fields:
                value.pop(field, None)
            if not value:
                del self.data[key]
                self.expires.pop(key, None)
            self._note("delete_fields", key, *fields)

    def delete(self, key: bytes) -> None:
        """Delete a key."""
        self.data.pop(key, None)
        self.expires.pop(key, None)
        self._note("delete", key)

    def expire_at(self, key: bytes, when: int) -> None:
        """Let a key expire at a time, in milliseconds. With -1 it never does."""
        if when < 0:
            self.expires.pop(key, None)
        else:
            self.expires[key] = when
            self._soonest = min(self._soonest, when)
        self._note("expire_at", key, when)

    def copy_from(self, other: "Database", key: bytes) -> None:
        """Take over a key of another database, with the time at which it expires."""
        value = other.data[key]
        if isinstance(value, bytes):
            self.put(key, value)
        else:
            self.delete(key)
            self.put_fields(key, *(word for pair in value.items() for word in pair))
        if key in other.expires:
            self.expire_at(key, other.expires[key])

    def flush(self) -> None:
        """Delete all keys."""
        self.data.clear()
        self.expires.clear()
        self._note("flush")

    def _note(self, change: str, *arguments: bytes | int) -> None:
        self.journal((self._number, change, arguments))

    def apply(self, change: str, arguments: tuple[bytes | int, ...]) -> None:
        """Make a change that was noted in the journal of another database."""
        getattr(self, change)(*arguments)

    # --- expiry and copies

    def _expire(self, key: bytes) -> None:
        if not self.obeys:
            self.delete(key)

    def collect(self) -> None:
        """Delete the keys whose time is over, as the server does ten times a second."""
        if self.obeys or self._soonest > self.now:
            return
        for key in [key for key, when in self.expires.items() if when <= self.now]:
            self.delete(key)
        self._soonest = min(self.expires.values(), default=_NEVER)

    def contents(self) -> tuple[dict[bytes, Value], dict[bytes, int]]:
        """Return a copy of all keys, and of the times at which they expire."""
        return {key: copy(value) for key, value in self.data.items()}, dict(self.expires)

    def load(self, data: dict[bytes, Value], expires: dict[bytes, int]) -> None:
        """Replace everything by what `contents` returned. The journal isn't told."""
        self.data = {key: copy(value) for key, value in data.items()}
        self.expires = dict(expires)
        self._soonest = min(self.expires.values(), default=_NEVER)
