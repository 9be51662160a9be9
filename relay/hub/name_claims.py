"""Handles claims, resumes and look-ups of names, by this node's own sessions if possible, else by the directory."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from anyio.abc import TaskGroup

from relay.clock import clock
from relay.directory.directory import REPLACED_SERVER_SECONDS, Directory, Record, SessionRecord, Unavailable
from relay.entropy import entropy
from relay.hub.record_writer import RecordWriter
from relay.logs import Spell
from relay.names.parse import Name, parse
from relay.protocol.commands_and_events import Claim, Replaced
from relay.protocol.errors import Code
from relay.session import resume
from relay.session.client_connection_interface import ClientConnection
from relay.session.partner_node_counts import PartnerNodeCounts
from relay.session.peer_messages import Mail, SessionMoved
from relay.session.resume import RestoredState
from relay.session.session import Session, State
from relay.shared_types import FormerSession, Located
from relay.tasks.worker_pool import WorkerPool

# A takeover is tried this many times if another one was quicker, because a single rival can't be quicker every time.
TRIES: Final = 4
# After this many seconds the client of a claim may have given up. Claims take long while a Redis that lost its data
# waits for the owners of names.
PATIENCE_SECONDS: Final = 1.0

log = structlog.get_logger()


class HubInterface(Protocol):
    """The part of the hub that claims and some other parts use."""

    node_id: str
    authenticates: bool
    sessions: dict[str, Session]  # by canonical name, including names that are being claimed here
    partner_node_counts: PartnerNodeCounts  # the partners of all sessions

    def began(self, session: Session, *, resumed: bool) -> None:
        """Log that a session has started or was resumed on this node."""

    def open_tick(self) -> None:
        """Open a tick. This must be called before a session is told an answer."""

    def wake(self, session: Session) -> None:
        """Handle the session's waiting commands at the end of this tick."""

    def mark_dirty(self, client: ClientConnection) -> None:
        """Have the client handle its waiting lines and flush at the end of this tick."""

    def post(self, node_id: str, mail: Mail) -> None:
        """Send a peer message."""


class NameClaims:
    """Runs the requests to the directory, and seats the sessions that own a name here."""

    def __init__(self, hub: HubInterface, directory: Directory, records: RecordWriter, tasks: TaskGroup) -> None:
        self._hub = hub
        self._directory = directory
        self._records = records
        self._worker_pool = WorkerPool(tasks)
        self._session_ids: set[str] = set()
        self._unclaimed = Spell("claim not possible")
        self._unresumed = Spell("resume not possible")
        # By session id: sessions that another node took over before the directory's answer to our claim was handled.
        self._moved: dict[str, SessionMoved] = {}
        self._left: dict[str, float] = {}  # by session id: the time when another node's session took over, in order
        # By canonical name: claims and resumes that wait until another claim of that name here is answered.
        self._behind: dict[str, list[Callable[[], None]]] = {}

    def holds(self, session_id: str) -> bool:
        """Return whether a session of this node has this id, or is about to have it."""
        return session_id in self._session_ids

    def left(self, session_id: str) -> bool:
        """Return whether a session of this node had this id, and was taken over a moment ago."""
        return session_id in self._recently_left()

    def taken_over(self, session_id: str) -> None:
        """Note that another node has the session now, or another session of the same user its name."""
        self._recently_left()[session_id] = clock()

    def _recently_left(self) -> dict[str, float]:
        since = clock() - REPLACED_SERVER_SECONDS
        while self._left and next(iter(self._left.values())) < since:
            del self._left[next(iter(self._left))]
        return self._left

    def forget(self, session_id: str) -> None:
        """Forget the id of a session that is over."""
        self._session_ids.discard(session_id)
        self._moved.pop(session_id, None)

    def moved(self, mail: SessionMoved) -> None:
        """Keep the message until the claim or resume of its session, which is in flight here, completes."""
        if mail.session_id in self._session_ids:
            self._moved[mail.session_id] = mail

    def _seated(self, session_id: str) -> None:
        """Deliver a message that the session has moved, if one came while its claim was in flight."""
        if (mail := self._moved.pop(session_id, None)) is not None:
            self._hub.post(self._hub.node_id, mail)

    def claim(self, session: Session, name: Name) -> None:
        """Ask for a name. The answer calls `session.claimed` or `session.unclaimed`."""
        here = self._hub.sessions.get(name.canonical_name)
        if here is None:
            self._hub.sessions[name.canonical_name] = session
        elif not self._hub.authenticates or here.name is None or here.name.key != name.key:
            session.unclaimed(Code.NAME_TAKEN)
            return
        elif here.state is State.CLAIMING:
            self._behind.setdefault(name.canonical_name, []).append(lambda: self._claim_now(session, name))
            return
        self._worker_pool.start(self._claim, session, name)

    def _claim_now(self, session: Session, name: Name) -> None:
        if session.state is State.CLAIMING:
            self.claim(session, name)
            self._hub.wake(session)

    async def _claim(self, session: Session, name: Name) -> None:
        began = clock()
        session_id, token = entropy.token_hex(8), entropy.token_urlsafe(32)
        token_hash = hash_token(token) if session.resumable else ""
        self._session_ids.add(session_id)
        fencing_token, code = None, Code.NAME_TAKEN
        try:
            body = SessionRecord(name.display_name, session.grace, token_hash, away=False, chat="", partner=None)
            fencing_token = await self._directory.claim(name.canonical_name, session_id, body)
            if fencing_token is None and self._hub.authenticates:
                fencing_token = await self._supersede(session, name, session_id, body)
            if session.resumable and _gone(session) and clock() - began > PATIENCE_SECONDS:
                fencing_token, code = (
                    None,
                    Code.UNAVAILABLE,
                )  # the client is gone, and the grace of its session would only block the name
        except Unavailable as error:
            self._unclaimed.again(error=str(error))
            code = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("claim failed")
            code = Code.UNAVAILABLE
        self._hub.open_tick()
        if fencing_token is None:
            self._refused(session, name, session_id, code)
        else:
            self._seat(session, name)
            session.claimed(session_id, fencing_token, token, token_hash)
            if session.named:  # otherwise the node is stopping
                self._hub.began(session, resumed=False)
                self._seated(session_id)
        self._known(session, name)

    async def _supersede(self, session: Session, name: Name, session_id: str, body: SessionRecord) -> int | None:
        """Take the name over from the session that has it, because both clients have proved to be the same user.

        Returns the new fencing token, or None if the owner's name only looks alike, or if our connection is gone, so
        that the name would only become vacant. Of two takeovers at once the later one wins.
        """
        for _ in range(TRIES):
            holder = await self._directory.find(name.canonical_name)
            if holder is None:
                return await self._directory.claim(name.canonical_name, session_id, body)
            if session.output_closed or parse(holder.body.display_name).key != name.key:
                return None
            fencing_token = await self._directory.take_over(holder, name.canonical_name, session_id, body)
            if fencing_token is not None:
                if holder.node_id != self._hub.node_id:
                    self._hub.open_tick()
                    self._hub.post(
                        holder.node_id, SessionMoved(name.canonical_name, holder.session_id, superseded=True)
                    )
                return fencing_token
        return None

    def _seat(self, session: Session, name: Name) -> None:
        """Make this session the owner of the name on this node, in place of any other one."""
        old = self._hub.sessions.get(name.canonical_name)
        if old is not session:
            if old is not None:
                old.superseded()
            self._hub.sessions[name.canonical_name] = session

    def _unseat(self, session: Session, name: Name) -> None:
        """Remove the session from the name, which it doesn't own or ask for any more."""
        if self._hub.sessions.get(name.canonical_name) is session:
            del self._hub.sessions[name.canonical_name]

    def _refused(self, session: Session, name: Name, session_id: str, code: Code, grace: float = 0.0) -> None:
        self._unseat(session, name)
        session.unclaimed(code)
        if code is Code.UNAVAILABLE:
            # The directory may have granted the request all the same. The client of a resume has its grace to try
            # again, and until then the name isn't free, here as on other nodes.
            self._records.give_up(name.canonical_name, session_id, grace, lambda: self.forget(session_id))
        else:
            self.forget(session_id)

    def _known(self, session: Session, name: Name) -> None:
        """Start the claims and resumes that waited for this answer about the name."""
        self._hub.wake(session)
        for retry in self._behind.pop(name.canonical_name, ()):
            retry()

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """Find the session of the claim's token. The answer calls `come_back` or `session.unclaimed`."""
        assert claim.resume is not None
        token_hash = hash_token(claim.resume.token)
        here = self._hub.sessions.get(name.canonical_name)
        if here is None:
            self._hub.sessions[name.canonical_name] = session
            self._worker_pool.start(self._resume, session, name, claim, token_hash)
        elif here.state is State.CLAIMING:
            self._behind.setdefault(name.canonical_name, []).append(lambda: self._resume_now(session, name, claim))
        else:
            assert here.named
            self._worker_pool.start(self._come_back, session, here, name, claim, token_hash)

    def _resume_now(self, session: Session, name: Name, claim: Claim) -> None:
        if session.state is State.CLAIMING:
            self.resume(session, name, claim)
            self._hub.wake(session)

    async def _come_back(self, session: Session, here: Session, name: Name, claim: Claim, token_hash: str) -> None:
        """Resume a session that is on this node, after the directory has confirmed that.

        The session or the name may have moved to another node, and the message about that may be lost. If the directory
        can't be asked, the client gets `unavailable` and has to try again. By the time of the answer it also shows
        whether the client has hung up.
        """
        ours = hmac.compare_digest(here.token_hash, token_hash)
        try:
            holder = await self._directory.find_token(name.canonical_name, token_hash)
        except Exception as error:
            if isinstance(error, Unavailable):
                self._unresumed.again(error=str(error))
            else:  # a defect: the client must get an answer all the same
                log.exception("resume failed")
            self._hub.open_tick()
            session.unclaimed(Code.UNAVAILABLE)
            self._hub.wake(session)
            return
        owner = (self._hub.node_id, here.session_id)
        self._hub.open_tick()
        if holder is not None and (holder.node_id, holder.session_id) != owner and self._owns(here, name):
            if ours:
                here.replaced(holder.body.returns_of(here.session_id))
            else:
                here.name_lost()
        if session.state is State.ENDED:  # the node is stopping
            return
        if not self._owns(here, name):
            self.resume(session, name, claim)
        elif ours and (here.away or not _gone(session)):
            self._hand_over(session, here)
            resume.come_back(here, claim)
        else:
            session.unclaimed(Code.BAD_TOKEN)
        self._hub.wake(session)

    def _owns(self, session: Session, name: Name) -> bool:
        """Return whether the session owns the name. One that has lost the name may be claiming it again."""
        return session.named and self._hub.sessions.get(name.canonical_name) is session

    def _hand_over(self, session: Session, here: Session) -> None:
        """Give the connection of the new session to the old session, and end the new one."""
        old, new = here.disconnect(), session.disconnect()
        assert new is not None
        session.close()
        here.grace_period.end()
        self._records.save(here)
        if old is not None:
            old.write_buffer.tell(Replaced())
            old.close()
        here.connect(new)
        new.serve(here)
        self._hub.mark_dirty(new)

    async def _resume(self, session: Session, name: Name, claim: Claim, token_hash: str) -> None:
        session_id, taken, code = entropy.token_hex(8), None, Code.BAD_TOKEN
        self._session_ids.add(session_id)
        try:
            taken = await self._take_over(session, name, session_id, token_hash)
        except Unavailable as error:
            self._unresumed.again(error=str(error))
            code = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("resume failed")
            code = Code.UNAVAILABLE
        self._hub.open_tick()
        if taken is None:
            self._refused(session, name, session_id, code, session.grace)
        else:
            holder, fencing_token = taken
            self._hub.post(
                holder.node_id,
                SessionMoved(
                    name.canonical_name,
                    holder.session_id,
                    fencing_token=fencing_token,
                    node_id=self._hub.node_id,
                    returns=holder.body.returns,
                ),
            )
            if session.state is State.ENDED:  # the node is stopping, and the client may resume on another one
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
                        former=FormerSession(holder.session_id, body.returns),
                    )
                )
                self._hub.began(session, resumed=True)
                resume.come_back(session, claim)
                self._seated(session_id)
        self._known(session, name)

    async def _take_over(
        self, session: Session, name: Name, session_id: str, token_hash: str
    ) -> tuple[Record, int] | None:
        """Take over the session of the token. Returns its record and the new fencing token, or None if there is none.

        Of two resumes at once on two nodes the later one wins. A resume whose client has hung up takes nothing from a
        connected client: a node that was suspended may read lines of a client that has long been served elsewhere, or
        that has tried again here.
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
        """Find the owner of a name, here or in the directory. `then` gets it, or `unavailable`."""
        here = self._hub.sessions.get(canonical_name)
        if here is not None and here.named:
            then(Located(here.presence, self._hub.node_id))
        else:
            self._worker_pool.start(self._locate, canonical_name, then)

    async def _locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        try:
            found: Located | Code = await self._directory.locate(canonical_name)
        except Unavailable:
            found = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("lookup failed")
            found = Code.UNAVAILABLE
        self._hub.open_tick()
        then(found)


def _gone(session: Session) -> bool:
    """Return whether the client has hung up."""
    return session.client is None or session.client.hung_up


def hash_token(token: str) -> str:
    """Return the hash of a token for the directory. A token has 256 random bits, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()
