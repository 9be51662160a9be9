"""The directory in memory, for tests that run the real hub, claims and sessions without a Redis.

It answers as `relay.directory.directory.Directory` does while every node lives: there are no leases that lapse and no
partitions that are forgotten, which tests/relay/directory tests on a real server. `available = False` is the one thing
that goes wrong. Questions are answered at once, or, where a test wants to choose the order, one by one with `answer`.
"""

import asyncio
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec

from relay.directory.directory import Body, NameLost, Record, Unavailable
from relay.model import Located
from relay.protocol.errors import Presence
from relay.redis_client.keys import Keys

T = TypeVar("T")


class MemoryDirectory:
    """The records of all names. Each node has a view of its own, `MemoryDirectory.node`.

    `step_by_step`: a question waits until the test calls `answer`, and is answered from the records as they are then.
    """

    def __init__(self, *, step_by_step: bool = False) -> None:
        self.records: dict[str, Record] = {}  # by canonical name
        self.available = True
        self.crowded = False
        self.fence = 0  # the last one that was granted
        self._step_by_step = step_by_step
        self._waiting: deque[tuple[asyncio.Future[object], Callable[[], object]]] = deque()

    def node(self, uid: str, here: Callable[[str], bool]) -> "MemoryDirectoryView":
        """What the node of this id sees of it; `here(sid)` says whether a session of that node is alive."""
        return MemoryDirectoryView(self, uid, here)

    def next_fence(self) -> int:
        """A fence that is higher than all before."""
        self.fence += 1
        return self.fence

    def waiting(self) -> int:
        """The number of questions that have no answer yet."""
        return len(self._waiting)

    def answer(self) -> None:
        """Answer the question that has waited longest; whoever asked goes on in the next iteration of the loop."""
        future, question = self._waiting.popleft()
        if future.done():
            return  # whoever asked was cancelled
        try:
            future.set_result(self._result(question))
        except (Unavailable, NameLost) as error:
            future.set_exception(error)

    async def ask(self, question: Callable[[], T]) -> T:
        """Answer a question now, or when the test says so. Raises Unavailable while the directory is."""
        if not self._step_by_step:
            return self._result(question)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, question))
        return await future  # type: ignore[return-value]  # the question's own result

    def _result(self, question: Callable[[], T]) -> T:
        if not self.available:
            raise Unavailable("the test says so")
        return question()


class MemoryLease:
    """A lease that always holds."""

    standing, failing = True, False
    incarnation = 1

    def __init__(self, uid: str) -> None:
        self.uid = uid

    def hurry(self) -> None:
        """Nothing is to be renewed."""


class MemoryDirectoryView:
    """One node's directory: the methods of `Directory` that a hub calls."""

    latency = 0.0  # seconds

    def __init__(self, directory: MemoryDirectory, uid: str, here: Callable[[str], bool]) -> None:
        self.lease = MemoryLease(uid)
        self.keys = Keys("memory")
        self._shared = directory
        self._here = here

    @property
    def crowded(self) -> bool:
        """Whether the directory answers late."""
        return self._shared.crowded

    def claim(self, owned: str, sid: str, body: Body) -> Awaitable[int | None]:
        """Own a name that is free, or that no living session has."""

        def claimed() -> int | None:
            there = self._records.get(owned)
            return self._write(owned, sid, body) if there is None or self._is_vacant(there) else None

        return self._shared.ask(claimed)

    def take_over(self, holder: Record, owned: str, sid: str, body: Body | None = None) -> Awaitable[int | None]:
        """Own a name whose record is still the one that was seen."""

        def taken() -> int | None:
            there = self._records.get(owned)
            if there is not None and there.version != holder.version:
                return None
            return self._write(owned, sid, body or msgspec.structs.replace(holder.body, away=False, calling=False))

        return self._shared.ask(taken)

    def find(self, owned: str, token_hash: str | None = None) -> Awaitable[Record | None]:
        """The record of a name."""
        return self._shared.ask(lambda: self._records.get(owned))

    def find_token(self, owned: str, token_hash: str) -> Awaitable[Record | None]:
        """The record of a name, if its session has this token."""
        return self._shared.ask(lambda: self._shown(owned, token_hash))

    def resumed(self, owned: str, token_hash: str) -> Awaitable[Record | None]:
        """The same."""
        return self.find_token(owned, token_hash)

    def locate(self, owned: str) -> Awaitable[Located]:
        """Where the owner of a name is, and whether that user may be called."""
        return self._shared.ask(lambda: self._located(owned))

    def save(self, owned: str, sid: str, fence: int, body: Body) -> Awaitable[int]:
        """Write a session's record, also where it is missing. Raises NameLost if another has the name."""

        def saved() -> int:
            there = self._records.get(owned)
            if there is not None and not self._owns(there, sid) and there.fence >= fence:
                raise NameLost
            now = fence + 1 if there is None else fence
            self._records[owned] = Record(now, self.lease.uid, str(self.lease.incarnation), sid, body)
            self._shared.fence = max(self._shared.fence, now)
            return now

        return self._shared.ask(saved)

    def release(self, owned: str, sid: str) -> Awaitable[None]:
        """Give a name back, if this session owns it."""

        def released() -> None:
            there = self._records.get(owned)
            if there is not None and self._owns(there, sid):
                del self._records[owned]

        return self._shared.ask(released)

    async def tidy(self, partitions: Iterable[int]) -> None:
        """Nothing dead is left here."""

    @property
    def _records(self) -> dict[str, Record]:
        return self._shared.records

    def _write(self, owned: str, sid: str, body: Body) -> int:
        fence = self._shared.next_fence()
        self._records[owned] = Record(fence, self.lease.uid, str(self.lease.incarnation), sid, body)
        return fence

    def _owns(self, there: Record, sid: str) -> bool:
        return (there.uid, there.sid) == (self.lease.uid, sid)

    def _is_vacant(self, there: Record) -> bool:
        """Whether the record is one of this node's whose session is over: it is about to be given back."""
        return there.uid == self.lease.uid and not self._here(there.sid)

    def _shown(self, owned: str, token_hash: str) -> Record | None:
        there = self._records.get(owned)
        return there if there is not None and hmac.compare_digest(there.body.token, token_hash) else None

    def _located(self, owned: str) -> Located:
        there = self._records.get(owned)
        if there is None or self._is_vacant(there):
            return Located(Presence.OFFLINE)
        if there.body.away:
            return Located(Presence.AWAY, there.uid)
        return Located(Presence.BUSY if there.body.chat or there.body.calling else Presence.FREE, there.uid)
