"""Keeps the directory's records up to date with the sessions of this node."""

from collections.abc import Callable
from typing import Final, TypeVarTuple

import anyio
import structlog
from anyio.abc import TaskGroup

from relay.directory.directory import Directory, NameLost, SessionRecord, Unavailable
from relay.protocol.errors import Reason
from relay.session.session import Session
from relay.tasks.worker_pool import WorkerPool

# The pause before a failed write of a record is retried, in seconds.
RETRY_SECONDS: Final = 0.2
# This many records are written at the same time when all have to be.
AT_ONCE: Final = 500

_About = TypeVarTuple("_About")

log = structlog.get_logger()


class RecordWriter:
    """Has at most one write of each session's record under way, so that an older state never overtakes a newer one.

    `changed()` is called before sessions are told anything.
    """

    def __init__(self, directory: Directory, tasks: TaskGroup, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._worker_pool = WorkerPool(tasks)
        self._changed = changed
        self._waiting: dict[Session, list[Callable[[bool], None]]] = {}
        self._released: dict[Session, Callable[[], None]] = {}
        self._writing: set[Session] = set()

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        """Write the record's state at write time. Calls `then(False)` if it failed and will be retried."""
        waiting = self._waiting.setdefault(session, [])
        if then is not None:
            waiting.append(then)
        self._start(session)

    def release(self, session: Session, then: Callable[[], None]) -> None:
        """Give the name back after the write under way. Calls `then` once that is done or has failed for now."""
        self._released[session] = then
        self._start(session)

    @property
    def quiet(self) -> bool:
        """Return whether no write is under way."""
        return not self._writing

    def _start(self, session: Session) -> None:
        if session not in self._writing:
            self._writing.add(session)
            self._worker_pool.start(self._write, session)

    async def _write(self, session: Session) -> None:
        try:
            while session in self._waiting or session in self._released:
                if session in self._released:
                    await self._give_back(session)
                else:
                    await self._save(session)
        finally:
            self._writing.discard(session)

    async def _save(self, session: Session) -> None:
        waiting = self._waiting.pop(session)
        written = False
        if session.named:
            try:
                canonical_name, session_id, fencing_token = (
                    session.canonical_name,
                    session.session_id,
                    session.fencing_token,
                )
                session.written(await self._directory.save(canonical_name, session_id, fencing_token, body(session)))
                written = True
            except NameLost:
                await self._lost(session)
            except Unavailable:
                self._waiting.setdefault(session, [])
            except Exception:  # a defect: waiting callers must be told, and it must not cost the name
                log.exception("record not written")
                self._waiting.setdefault(session, [])
        self._changed()
        for then in waiting:
            _call(then, written)
        if session in self._waiting and not written:
            await anyio.sleep(RETRY_SECONDS)

    async def _lost(self, session: Session) -> None:
        """Find out whether another user owns the name or this session was resumed elsewhere, and tell the session."""
        resumed = None
        if session.token_hash:
            try:
                resumed = await self._directory.resumed(session.canonical_name, session.token_hash)
            except Unavailable:
                self._waiting.setdefault(session, [])  # the retry finds out who owns the name
                return
        self._changed()
        if session.named:
            if resumed is None:
                session.name_lost()
            else:
                if session.chat is not None and not resumed.body.knows(session.chat.id):
                    session.part(Reason.LOST)  # it was resumed from an older server's record, without this chat
                session.replaced(resumed.body.returns_of(session.session_id))

    async def _give_back(self, session: Session) -> None:
        try:
            await self._directory.release(session.canonical_name, session.session_id)
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.exception("name not given back")
            self._told(session)
            await anyio.sleep(RETRY_SECONDS)
            return
        self._told(session)
        del self._released[session]

    def _told(self, session: Session) -> None:
        then = self._released[session]
        self._released[session] = _nobody
        self._changed()
        _call(then)

    def give_up(self, canonical_name: str, session_id: str, after: float, then: Callable[[], None]) -> None:
        """Take a claim back that got no answer and may still be carried out, once Redis answers.

        That begins after `after` seconds. Calls `then` at that time, because the name may be claimed from then on.
        """
        self._worker_pool.start(self._take_back, canonical_name, session_id, after, then)

    async def _take_back(self, canonical_name: str, session_id: str, after: float, then: Callable[[], None]) -> None:
        await anyio.sleep(after)
        then()
        while True:
            await anyio.sleep(RETRY_SECONDS)
            try:
                return await self._directory.release(canonical_name, session_id)
            except Unavailable:
                continue

    async def write_all(self, sessions: list[Session]) -> None:
        """Write all records, after Redis lost data or the lease lapsed. Raises Unavailable if some failed for now."""
        for start in range(0, len(sessions), AT_ONCE):
            await self._write_some(sessions[start : start + AT_ONCE])

    async def _write_some(self, sessions: list[Session]) -> None:
        done = anyio.Event()
        left = len(sessions)

        def one_less(_: bool) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        for session in sessions:
            self.save(session, one_less)
        await done.wait()
        if any(session in self._waiting and session.named for session in sessions):
            raise Unavailable("not all records could be written")


def _nobody() -> None:
    pass


def _call(then: Callable[[*_About], None], *about: *_About) -> None:
    """Call `then` and log any exception, because a defect must not stop the other callers or the writing of records."""
    try:
        then(*about)
    except Exception:
        log.exception("a step failed")


def body(session: Session) -> SessionRecord:
    """Return the record of a session as it is now."""
    engaged = session.engaged
    return SessionRecord(
        display_name=session.name.display_name if session.name else "",
        grace=session.grace,
        token=session.token_hash,
        away=session.away,
        chat=engaged.id if engaged else "",
        partner=engaged.partner if engaged else None,
        ended=session.ended,
        previous_chat=session.previous_chat,
        calling=session.calling,
        returns=session.grace_period.returns,
        former=session.former,
    )
