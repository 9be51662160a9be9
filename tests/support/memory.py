"""The directory in memory, for tests that run the real hub, claims and sessions without a Redis.

It answers as `relay.directory.directory.Directory` does. A lease lapses where the test says so, and no partition is
ever forgotten; how a node finds out about both, tests/relay/directory tests on a real server. Questions are answered at
once, or, where a test wants to choose the order, one by one with `answer`.
"""

import asyncio
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from relay.clock import clock
from relay.directory.directory import DirectoryDelegate, NameLost, Record, SessionRecord, Unavailable, moved
from relay.protocol.errors import Presence
from relay.redis_client.keys import Keys
from relay.shared_types import Located

T = TypeVar("T")


class MemoryDirectory:
    """The records of all names. Each node has its own view, `MemoryDirectory.node`.

    `step_by_step`: while it is true, a question waits until the test calls `answer`, and is answered from the records
    as they are then. `standing`: whether the nodes' leases hold, as far as the nodes know. `clock` tells how long ago a
    lease lapsed.
    """

    def __init__(self, *, step_by_step: bool = False, clock: Callable[[], float] = clock) -> None:
        self.records: dict[str, Record] = {}  # by canonical name
        self.step_by_step = step_by_step
        self._clock = clock
        self._lapsed: dict[str, float] = {}  # by node id: when its lease lapsed
        self.standing = True
        self.available = True
        self.crowded = False
        self.fencing_token = 0  # the last one that was granted
        self._waiting: deque[tuple[str, Callable[[], Callable[[], None]]]] = deque()  # who asks what

    def node(self, node_id: str, delegate: DirectoryDelegate) -> "MemoryDirectoryView":
        """Return the view of the node with this id."""
        return MemoryDirectoryView(self, node_id, delegate)

    def lease(self, node_id: str) -> "MemoryLease":
        """Return the lease of that node."""
        return MemoryLease(self, node_id)

    def grant(self, canonical_name: str, node_id: str, session_id: str, body: SessionRecord) -> int:
        """Make a session of that node the owner of a name, whoever owned it before. Returns its fencing token."""
        self.fencing_token += 1
        self.records[canonical_name] = Record(
            self.fencing_token, node_id, str(MemoryLease.incarnation), session_id, body
        )
        return self.fencing_token

    def lapse(self, node_id: str) -> None:
        """Let the lease of a node lapse, as the node is dead: it hears nothing more, and its records stay."""
        self._lapsed[node_id] = self._clock()
        self._waiting = deque(question for question in self._waiting if question[0] != node_id)

    def lapsed(self, node_id: str) -> float | None:
        """Return the seconds since the lease of a node lapsed, or None if it holds."""
        since = self._lapsed.get(node_id)
        return None if since is None else self._clock() - since

    def waiting(self) -> int:
        """The number of questions without an answer."""
        return len(self._waiting)

    def answer(self) -> None:
        """Answer the question that has waited longest; whoever asked goes on in the next iteration of the loop."""
        self.carry_out()()

    def carry_out(self) -> Callable[[], None]:
        """Do what was asked first, and return what tells the answer, which has a long way."""
        return self._waiting.popleft()[1]()

    async def ask(self, node_id: str, question: Callable[[], T]) -> T:
        """Answer a node's question now, or when the test says so. Raises Unavailable while the directory is."""
        if not self.step_by_step:
            return self._result(question)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def carry_out() -> Callable[[], None]:
            try:
                tell = partial(future.set_result, self._result(question))
            except (Unavailable, NameLost) as error:
                tell = partial(future.set_exception, error)
            return lambda: None if future.done() else tell()  # done: whoever asked was cancelled

        if node_id not in self._lapsed:
            self._waiting.append((node_id, carry_out))
        return await future

    def _result(self, question: Callable[[], T]) -> T:
        if not self.available:
            raise Unavailable("the test says so")
        return question()


class MemoryLease:
    """A lease that holds unless the test says otherwise."""

    failing = False
    incarnation = 1
    seconds = 5.0

    def __init__(self, directory: MemoryDirectory, node_id: str) -> None:
        self.node_id = node_id
        self._directory = directory

    @property
    def standing(self) -> bool:
        """Whether the lease holds."""
        return self._directory.standing

    def hurry(self) -> None:
        """Do nothing, because nothing has to be renewed."""

    def reconnected(self) -> None:
        """Do nothing, because there are no connections."""
        raise AssertionError("there are no connections")


class MemoryDirectoryView:
    """One node's view of the directory, with the methods that a hub calls."""

    latency = 0.0  # seconds

    def __init__(self, directory: MemoryDirectory, node_id: str, delegate: DirectoryDelegate) -> None:
        self.lease = directory.lease(node_id)
        self.keys = Keys("memory")
        self._shared = directory
        self._delegate = delegate

    @property
    def crowded(self) -> bool:
        """Whether the directory answers late."""
        return self._shared.crowded

    def claim(self, canonical_name: str, session_id: str, body: SessionRecord) -> Awaitable[int | None]:
        """Claim a name that is free, or whose session isn't alive."""

        def claimed() -> int | None:
            there = self._records.get(canonical_name)
            vacant = there is None or (self._is_vacant(there) and not self._outdated(there))
            return self._write(canonical_name, session_id, body) if vacant else None

        return self._ask(claimed)

    def take_over(
        self, holder: Record, canonical_name: str, session_id: str, body: SessionRecord | None = None
    ) -> Awaitable[int | None]:
        """Take over a name whose record hasn't changed since it was read."""

        def taken() -> int | None:
            there = self._records.get(canonical_name)
            if there is not None and there.version != holder.version:
                return None
            return self._write(canonical_name, session_id, body or moved(holder))

        return self._ask(taken)

    def find(self, canonical_name: str, token_hash: str | None = None) -> Awaitable[Record | None]:
        """The record of a name, unless its session is over."""
        return self._ask(lambda: self._found(canonical_name))

    def find_token(self, canonical_name: str, token_hash: str) -> Awaitable[Record | None]:
        """The same, if its session has this token."""
        return self._ask(lambda: _shows(self._found(canonical_name), token_hash))

    def resumed(self, canonical_name: str, token_hash: str) -> Awaitable[Record | None]:
        """The record of a name, if its session has this token, whether or not that is over."""
        return self._ask(lambda: _shows(self._records.get(canonical_name), token_hash))

    def locate(self, canonical_name: str) -> Awaitable[Located]:
        """Where the owner of a name is, and whether that user may be called."""
        return self._ask(lambda: self._located(canonical_name))

    def save(self, canonical_name: str, session_id: str, fencing_token: int, body: SessionRecord) -> Awaitable[int]:
        """Write a session's record, also if it is missing. Raises NameLost if another session has the name."""

        def saved() -> int:
            there = self._records.get(canonical_name)
            if there is not None and not self._owns(there, session_id) and there.fencing_token >= fencing_token:
                raise NameLost
            now = fencing_token + 1 if there is None else fencing_token
            self._records[canonical_name] = Record(
                now, self.lease.node_id, str(self.lease.incarnation), session_id, body
            )
            self._shared.fencing_token = max(self._shared.fencing_token, now)
            return now

        return self._ask(saved)

    def release(self, canonical_name: str, session_id: str) -> Awaitable[None]:
        """Release a name if this session owns it."""

        def released() -> None:
            there = self._records.get(canonical_name)
            if there is not None and self._owns(there, session_id):
                del self._records[canonical_name]

        return self._ask(released)

    async def tidy(self, partitions: Iterable[int]) -> None:
        """Do nothing, because no dead records are left here."""

    def _ask(self, question: Callable[[], T]) -> Awaitable[T]:
        return self._shared.ask(self.lease.node_id, question)

    @property
    def _records(self) -> dict[str, Record]:
        return self._shared.records

    def _write(self, canonical_name: str, session_id: str, body: SessionRecord) -> int:
        return self._shared.grant(canonical_name, self.lease.node_id, session_id, body)

    def _owns(self, there: Record, session_id: str) -> bool:
        return (there.node_id, there.session_id) == (self.lease.node_id, session_id)

    def _is_vacant(self, there: Record) -> bool:
        """Whether the session of the record is over: it is about to be given back, or its node died too long ago."""
        if there.node_id == self.lease.node_id:
            return not self._delegate.here(there.session_id)
        lapsed = self._shared.lapsed(there.node_id)
        return lapsed is not None and lapsed >= there.body.grace

    def _outdated(self, there: Record) -> bool:
        return there.node_id == self.lease.node_id and self._delegate.left(there.session_id)

    def _found(self, canonical_name: str) -> Record | None:
        there = self._records.get(canonical_name)
        # A record of this node without a session is found, as `Directory.find` says.
        own = there is not None and there.node_id == self.lease.node_id
        return there if there is None or own or not self._is_vacant(there) else None

    def _located(self, canonical_name: str) -> Located:
        there = self._records.get(canonical_name)
        if there is not None and self._outdated(there):
            raise Unavailable("the record is an old one")
        if there is None or self._is_vacant(there):
            return Located(Presence.OFFLINE)
        if there.body.away or self._shared.lapsed(there.node_id) is not None:
            return Located(Presence.AWAY, there.node_id)
        return Located(Presence.BUSY if there.body.chat or there.body.calling else Presence.FREE, there.node_id)


def _shows(there: Record | None, token_hash: str) -> Record | None:
    return there if there is not None and hmac.compare_digest(there.body.token, token_hash) else None
