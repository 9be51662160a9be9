"""The directory in memory, for tests that run the real hub, claims and sessions without a Redis.

It answers as `relay.directory.directory.Directory` does while every node lives: no leases lapse, and no partitions lose
data, which tests/relay/directory tests on a real server. Its only failure is `available = False`. Questions are
answered at once, or, if a test wants to choose the order, one by one with `answer`.
"""

import asyncio
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec

from relay.directory.directory import DirectoryDelegate, NameLost, Record, SessionRecord, Unavailable
from relay.model import Located
from relay.protocol.errors import Presence
from relay.redis_client.keys import Keys

T = TypeVar("T")


class MemoryDirectory:
    """The records of all names. Each node has its own view, `MemoryDirectory.node`.

    While `step_by_step` is true, a question waits until the test calls `answer`, and is answered from the records of
    that moment. `standing` says whether the nodes believe that they hold their leases.
    """

    def __init__(self, *, step_by_step: bool = False) -> None:
        self.records: dict[str, Record] = {}  # by canonical name
        self.step_by_step = step_by_step
        self.standing = True
        self.available = True
        self.crowded = False
        self.fencing_token = 0  # the last granted one
        self._waiting: deque[tuple[asyncio.Future[object], Callable[[], object]]] = deque()

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

    def waiting(self) -> int:
        """The number of questions without an answer."""
        return len(self._waiting)

    def answer(self) -> None:
        """Answer the oldest question. The caller continues in the next iteration of the loop."""
        future, question = self._waiting.popleft()
        if future.done():
            return  # the caller was cancelled
        try:
            future.set_result(self._result(question))
        except (Unavailable, NameLost) as error:
            future.set_exception(error)

    async def ask(self, question: Callable[[], T]) -> T:
        """Answer a question now, or when the test says so. Raises Unavailable while the directory is unavailable."""
        if not self.step_by_step:
            return self._result(question)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, question))
        return await future  # type: ignore[return-value]  # the question's own result

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
            return self._write(canonical_name, session_id, body) if there is None or self._is_vacant(there) else None

        return self._shared.ask(claimed)

    def take_over(
        self, holder: Record, canonical_name: str, session_id: str, body: SessionRecord | None = None
    ) -> Awaitable[int | None]:
        """Take over a name whose record hasn't changed since it was read."""

        def taken() -> int | None:
            there = self._records.get(canonical_name)
            if there is not None and there.version != holder.version:
                return None
            return self._write(
                canonical_name, session_id, body or msgspec.structs.replace(holder.body, away=False, calling=False)
            )

        return self._shared.ask(taken)

    def find(self, canonical_name: str, token_hash: str | None = None) -> Awaitable[Record | None]:
        """Return the record of a name."""
        return self._shared.ask(lambda: self._records.get(canonical_name))

    def find_token(self, canonical_name: str, token_hash: str) -> Awaitable[Record | None]:
        """Return the record of a name if its session has this token."""
        return self._shared.ask(lambda: self._shown(canonical_name, token_hash))

    def resumed(self, canonical_name: str, token_hash: str) -> Awaitable[Record | None]:
        """Return the record of a name if its session has this token."""
        return self.find_token(canonical_name, token_hash)

    def locate(self, canonical_name: str) -> Awaitable[Located]:
        """Return the node of a name's owner, and whether that user may be called."""
        return self._shared.ask(lambda: self._located(canonical_name))

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

        return self._shared.ask(saved)

    def release(self, canonical_name: str, session_id: str) -> Awaitable[None]:
        """Release a name if this session owns it."""

        def released() -> None:
            there = self._records.get(canonical_name)
            if there is not None and self._owns(there, session_id):
                del self._records[canonical_name]

        return self._shared.ask(released)

    async def tidy(self, partitions: Iterable[int]) -> None:
        """Do nothing, because no dead records are left here."""

    @property
    def _records(self) -> dict[str, Record]:
        return self._shared.records

    def _write(self, canonical_name: str, session_id: str, body: SessionRecord) -> int:
        return self._shared.grant(canonical_name, self.lease.node_id, session_id, body)

    def _owns(self, there: Record, session_id: str) -> bool:
        return (there.node_id, there.session_id) == (self.lease.node_id, session_id)

    def _is_vacant(self, there: Record) -> bool:
        """Return whether the record belongs to a session of this node that is over: it is about to be released."""
        return there.node_id == self.lease.node_id and not self._delegate.here(there.session_id)

    def _shown(self, canonical_name: str, token_hash: str) -> Record | None:
        there = self._records.get(canonical_name)
        return there if there is not None and hmac.compare_digest(there.body.token, token_hash) else None

    def _located(self, canonical_name: str) -> Located:
        there = self._records.get(canonical_name)
        if there is None or self._is_vacant(there):
            return Located(Presence.OFFLINE)
        if there.body.away:
            return Located(Presence.AWAY, there.node_id)
        return Located(Presence.BUSY if there.body.chat or there.body.calling else Presence.FREE, there.node_id)
