"""Who is who: claims, resumes and look-ups, answered from this node where it can know, else by the directory."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from anyio.abc import TaskGroup

from relay.clock import clock
from relay.directory.directory import Directory, Record, SessionRecord, Unavailable
from relay.hub.record_writer import RecordWriter
from relay.logs import Spell
from relay.model import Located
from relay.names.parse import Name, parse
from relay.protocol.errors import Code
from relay.protocol.events import Claim, Replaced
from relay.session import resume
from relay.session.client_connection import ClientConnection
from relay.session.partner_nodes import PartnerNodes
from relay.session.peer_messages import Mail, SessionMoved
from relay.session.resume import RestoredState
from relay.session.session import Session, State
from relay.tasks.worker_pool import WorkerPool

# Times that a resume is tried when somebody with the same token was quicker: one client can't be so quick so often.
TRIES: Final = 4
# A claim that waits for so long (for the owners that a forgetful Redis has to hear first) has outlasted many a client.
PATIENCE_SECONDS: Final = 1.0

log = structlog.get_logger()


class Owner(Protocol):
    """What claims, and some others, need of the node."""

    node_id: str
    authenticates: bool
    sessions: dict[str, Session]  # by owned name; a name that is being claimed here counts
    partners: PartnerNodes  # of all of them

    def began(self, session: Session, *, resumed: bool) -> None:
        """A session begins on this node."""

    def open_tick(self) -> None:
        """To be called before a session is told an answer."""

    def wake(self, session: Session) -> None:
        """Commands that waited may be handled now."""

    def mark_dirty(self, client: ClientConnection) -> None:
        """Have the outlet pump and flush."""

    def post(self, node_id: str, mail: Mail) -> None:
        """Send mail."""


class NameClaims:
    """The questions to the directory that are under way, and the sessions that own a name here."""

    def __init__(self, node: Owner, directory: Directory, records: RecordWriter, tasks: TaskGroup) -> None:
        self._node = node
        self._directory = directory
        self._records = records
        self._worker_pool = WorkerPool(tasks)
        self._session_ids: set[str] = set()
        self._unclaimed = Spell("claim not possible")
        self._unresumed = Spell("resume not possible")
        # By session: it has moved on already, and the answer that makes it a session of this node isn't here yet.
        self._moved: dict[str, SessionMoved] = {}
        # Resumes of a name that somebody is just asking for here, by owned name: it's not known yet whose it is.
        self._behind: dict[str, list[Callable[[], None]]] = {}

    def holds(self, session_id: str) -> bool:
        """Whether a session of this node has this id, or is about to have it."""
        return session_id in self._session_ids

    def forget(self, session_id: str) -> None:
        """That session is over."""
        self._session_ids.discard(session_id)
        self._moved.pop(session_id, None)

    def moved(self, mail: SessionMoved) -> None:
        """Somebody was quicker to take a session over than this node to hear that it had it."""
        if mail.session_id in self._session_ids:
            self._moved[mail.session_id] = mail

    def _seated(self, session_id: str) -> None:
        """The session is one of this node's: now it can be told that it has moved."""
        if (mail := self._moved.pop(session_id, None)) is not None:
            self._node.post(self._node.node_id, mail)

    def claim(self, session: Session, name: Name) -> None:
        """Ask for a name; ends in `session.claimed` or `session.unclaimed`."""
        here = self._node.sessions.get(name.canonical_name)
        if here is None:
            self._node.sessions[name.canonical_name] = session
        elif not self._node.authenticates or here.name is None or here.name.key != name.key:
            session.unclaimed(Code.NAME_TAKEN)
            return
        elif here.state is State.CLAIMING:
            self._behind.setdefault(name.canonical_name, []).append(lambda: self._claim_now(session, name))
            return
        self._worker_pool.start(self._claim, session, name)

    def _claim_now(self, session: Session, name: Name) -> None:
        if session.state is State.CLAIMING:
            self.claim(session, name)
            self._node.wake(session)

    async def _claim(self, session: Session, name: Name) -> None:
        began = clock()
        session_id, token = secrets.token_hex(8), secrets.token_urlsafe(32)
        token_hash = hash_token(token) if session.resumable else ""
        self._session_ids.add(session_id)
        fencing_token, code = None, Code.NAME_TAKEN
        try:
            body = SessionRecord(name.display_name, session.grace, token_hash, away=False, chat="", partner=None)
            fencing_token = await self._directory.claim(name.canonical_name, session_id, body)
            if fencing_token is None and self._node.authenticates:
                fencing_token = await self._supersede(session, name, session_id, body)
            if session.resumable and _gone(session) and clock() - began > PATIENCE_SECONDS:
                fencing_token, code = (
                    None,
                    Code.UNAVAILABLE,
                )  # granted to nobody: the grace would only keep others off the name
        except Unavailable as error:
            self._unclaimed.again(error=str(error))
            code = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("claim failed")
            code = Code.UNAVAILABLE
        self._node.open_tick()
        if fencing_token is None:
            self._refused(session, name, session_id, code)
        else:
            self._seat(session, name)
            session.claimed(session_id, fencing_token, token, token_hash)
            if session.named:  # else the node goes away
                self._node.began(session, resumed=False)
                self._seated(session_id)
        self._known(session, name)

    async def _supersede(self, session: Session, name: Name, session_id: str, body: SessionRecord) -> int | None:
        """Take the name over from the session that has it: each of its clients has proved to be the same user.

        Not from one whose name only looks alike, and not for a connection that is gone, which would only leave it free.
        Of two at once the later one wins.
        """
        for _ in range(TRIES):
            holder = await self._directory.find(name.canonical_name)
            if holder is None:
                return await self._directory.claim(name.canonical_name, session_id, body)
            if session.deaf or parse(holder.body.display_name).key != name.key:
                return None
            fencing_token = await self._directory.take_over(holder, name.canonical_name, session_id, body)
            if fencing_token is not None:
                if holder.node_id != self._node.node_id:
                    self._node.open_tick()
                    self._node.post(holder.node_id, SessionMoved(name.canonical_name, holder.session_id, taken=True))
                return fencing_token
        return None

    def _seat(self, session: Session, name: Name) -> None:
        """The name is this session's now, and no other's."""
        old = self._node.sessions.get(name.canonical_name)
        if old is not session:
            if old is not None:
                old.superseded()
            self._node.sessions[name.canonical_name] = session

    def _unseat(self, session: Session, name: Name) -> None:
        """The session asks for the name no longer."""
        if self._node.sessions.get(name.canonical_name) is session:
            del self._node.sessions[name.canonical_name]

    def _refused(self, session: Session, name: Name, session_id: str, code: Code, grace: float = 0.0) -> None:
        self._unseat(session, name)
        session.unclaimed(code)
        if code is Code.UNAVAILABLE:
            # A session that was to be resumed may be ours now: its client has its grace to try again. Until then its
            # name is not free, here no more than on other nodes.
            self._records.give_up(name.canonical_name, session_id, grace, lambda: self.forget(session_id))
        else:
            self.forget(session_id)

    def _known(self, session: Session, name: Name) -> None:
        """It's known whose the name is: whoever waited for that has its turn."""
        self._node.wake(session)
        for turn in self._behind.pop(name.canonical_name, ()):
            turn()

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """Find the session of a token: here, or in the directory."""
        assert claim.resume is not None
        token_hash = hash_token(claim.resume.token)
        here = self._node.sessions.get(name.canonical_name)
        if here is None:
            self._node.sessions[name.canonical_name] = session
            self._worker_pool.start(self._resume, session, name, claim, token_hash)
        elif here.state is State.CLAIMING:
            self._behind.setdefault(name.canonical_name, []).append(lambda: self._resume_now(session, name, claim))
        elif here.named:
            self._worker_pool.start(self._come_back, session, here, name, claim, token_hash)
        else:
            session.unclaimed(Code.BAD_TOKEN)

    def _resume_now(self, session: Session, name: Name, claim: Claim) -> None:
        if session.state is State.CLAIMING:
            self.resume(session, name, claim)
            self._node.wake(session)

    async def _come_back(self, session: Session, here: Session, name: Name, claim: Claim, token_hash: str) -> None:
        """The session is here, unless it has moved on, or the name has, and the word of that was lost.

        The directory knows; where it can't be asked, nobody does, and the client has to try again. Meanwhile it shows
        whether that has hung up already.
        """
        ours = hmac.compare_digest(here.token_hash, token_hash)
        try:
            holder = await self._directory.find_token(name.canonical_name, token_hash)
        except Exception as error:
            if isinstance(error, Unavailable):
                self._unresumed.again(error=str(error))
            else:  # a defect: the client is to hear something
                log.exception("resume failed")
            self._node.open_tick()
            session.unclaimed(Code.UNAVAILABLE)
            self._node.wake(session)
            return
        moved = holder is not None and (holder.node_id, holder.session_id) != (self._node.node_id, here.session_id)
        self._node.open_tick()
        if moved and self._owns(here, name):
            (here.replaced if ours else here.name_lost)()
        if session.state is not State.CLAIMING:
            return
        if not self._owns(here, name):
            self.resume(session, name, claim)
        elif ours and (here.away or not _gone(session)):
            self._hand_over(session, here)
            resume.come_back(here, claim)
        else:
            session.unclaimed(Code.BAD_TOKEN)
        self._node.wake(session)

    def _owns(self, session: Session, name: Name) -> bool:
        """Whether the name is this session's. One that has lost it may be asking for it again."""
        return session.named and self._node.sessions.get(name.canonical_name) is session

    def _hand_over(self, session: Session, here: Session) -> None:
        """The connection of a new session becomes that of an old one."""
        old, new = here.disconnect(), session.disconnect()
        session.close()
        here.grace_period.end(time.time_ns() // 1000)
        if old is not None:
            old.write_buffer.tell(Replaced())
            old.close()
        if new is not None:
            here.connect(new)
            new.serve(here)
            self._node.mark_dirty(new)

    async def _resume(self, session: Session, name: Name, claim: Claim, token_hash: str) -> None:
        session_id, taken, code = secrets.token_hex(8), None, Code.BAD_TOKEN
        self._session_ids.add(session_id)
        try:
            taken = await self._take_over(session, name, session_id, token_hash)
        except Unavailable as error:
            self._unresumed.again(error=str(error))
            code = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("resume failed")
            code = Code.UNAVAILABLE
        self._node.open_tick()
        if taken is None:
            self._refused(session, name, session_id, code, session.grace)
        else:
            holder, fencing_token = taken
            self._node.post(
                holder.node_id,
                SessionMoved(
                    name.canonical_name, holder.session_id, fencing_token=fencing_token, node_id=self._node.node_id
                ),
            )
            if session.state is State.ENDED:  # the node goes away: with its token the client may go on elsewhere
                self._unseat(session, name)
                self.forget(session_id)
            else:
                body = holder.body
                chat, ended = body.engaged, body.ended
                session.inherit(
                    RestoredState(
                        name,
                        session_id,
                        fencing_token,
                        token_hash,
                        chat=chat,
                        ended=ended,
                        previous_chat=body.previous_chat,
                    )
                )
                self._node.began(session, resumed=True)
                resume.come_back(session, claim)
                self._seated(session_id)
        self._known(session, name)

    async def _take_over(
        self, session: Session, name: Name, session_id: str, token_hash: str
    ) -> tuple[Record, int] | None:
        """The record that the token belongs to, and the new fence; None if there is no such session.

        Of two resumes at once on two nodes the later one wins. One whose client has hung up meanwhile takes nothing
        from a client that is there: a node that slept may find the words of a client that has long been served
        elsewhere, or tried again here.
        """
        for _ in range(TRIES):
            holder = await self._directory.find_token(name.canonical_name, token_hash)
            if holder is None or (_gone(session) and not holder.body.away):
                return None
            fencing_token = await self._directory.take_over(holder, name.canonical_name, session_id)
            if fencing_token is not None:
                return holder, fencing_token
        return None

    def locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        """Find the owner of a name: here, or in the directory."""
        here = self._node.sessions.get(canonical_name)
        if here is not None and here.named:
            then(Located(here.presence, self._node.node_id))
        else:
            self._worker_pool.start(self._locate, canonical_name, then)

    async def _locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        try:
            found: Located | Code = await self._directory.locate(canonical_name)
        except Unavailable:
            found = Code.UNAVAILABLE
        except Exception:  # likewise
            log.exception("lookup failed")
            found = Code.UNAVAILABLE
        self._node.open_tick()
        then(found)


def _gone(session: Session) -> bool:
    """The client has hung up."""
    return session.client is None or session.client.hung_up


def hash_token(token: str) -> str:
    """What the directory keeps of a token. 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()
