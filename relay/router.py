"""The sessions of this node, and the way between them: local mail stays here, other mail takes the bus.

Inputs (a client's bytes, mail, an answer of the directory, a timer) are handled one by one; what they cause gathers and
goes out at the end of the turn of the loop: one write a client, one PUBLISH a node.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import anyio
import structlog
from anyio.abc import TaskGroup

from relay import inbox, resume
from relay.budget import Budget
from relay.bus import Bus
from relay.directory import Body, Directory, Unavailable
from relay.errors import Code
from relay.events import Claim, Event, Replaced
from relay.host import Limits, Located
from relay.mail import Mail, Moved
from relay.names import Name
from relay.records import Records
from relay.resume import Legacy
from relay.session import Session, State

# While the lease is not known to hold, clients' lines wait for so long for the directory's word; if it can't be had,
# Redis is away, and chats on this node go on.
HOLD_SECONDS: Final = 0.5

# Lines handled in one turn of the loop: some ten milliseconds, so that a thousand floods don't hold it.
ROUND_LINES: Final = 4096
# How often the budget is shared out: a flood brings some ten megabytes meanwhile, at the speed of a machine.
BUDGET_SECONDS: Final = 0.1
DEFAULT_MEMORY: Final = 256 * 1024 * 1024

log = structlog.get_logger()


class Outlet(Protocol):
    """Where a session's client is told things: a connection."""

    def tell(self, event: Event) -> None:
        """Add to what the client is told."""

    def pump(self) -> None:
        """Handle lines that wait, as far as the session lets them."""

    def flush(self) -> None:
        """Write what the client is told."""

    def close(self) -> None:
        """Close after that."""

    @property
    def held_bytes(self) -> int:
        """Memory that this client's messages and replies hold at the moment."""

    def serve(self, session: Session) -> None:
        """Be the client of this session from now on."""


class Router:
    """The host of all sessions of a node (see `relay.host.Host`)."""

    def __init__(self, uid: str, node: str, limits: Limits, memory: int = DEFAULT_MEMORY) -> None:
        self.uid = uid
        self.node = node
        self.limits = limits
        self.budget = Budget(memory)
        self.now = 0.0
        self.turn = 0
        self.lines = ROUND_LINES  # lines that may still be handled in this turn of the loop, all clients together
        self.round = 0  # turns of the loop in which there was something to do
        self.sessions: dict[str, Session] = {}  # by owned name
        self._sids: set[str] = set()
        self._mail: deque[Mail] = deque()
        self._dirty: dict[Outlet, None] = {}
        self._scheduled = False
        self._watching = False
        self._held = False
        self._adrift = False  # the lease doesn't hold and Redis can't be asked: chats on this node go on
        self._later: dict[Outlet, None] = {}
        self._outlets: set[Outlet] = set()

    def start(self, loop: asyncio.AbstractEventLoop, tasks: TaskGroup, directory: Directory, bus: Bus) -> None:
        """Everything is there: go."""
        self._loop = loop
        self._tasks = tasks
        self._directory = directory
        self._bus = bus
        self._records = Records(directory, tasks, self.begin)

    # --- turns

    def begin(self) -> None:
        """To be called before any input is handled: opens a turn, if none is open, and looks at the lease."""
        if self._scheduled:
            return
        self._scheduled = True
        self.round += 1
        self.lines = ROUND_LINES
        self._loop.call_soon(self._end_turn)
        self.now = int(time.time() * 1000) / 1000
        if self._watching and not self._held and not self._adrift and not self._directory.lease.standing:
            self._hold()

    def _end_turn(self) -> None:
        """Carry out everything that this turn's inputs caused, and what that causes in turn, until nothing is left."""
        while self._mail or self._dirty:
            self.turn += 1
            while self._mail:
                self._deliver(self._mail.popleft())
            dirty, self._dirty = self._dirty, {}
            for outlet in dirty:
                outlet.pump()
            for outlet in dirty:
                outlet.flush()
        self.turn += 1
        self._bus.flush()
        self._scheduled = False
        if self._later:
            self._dirty, self._later = self._later, {}
            self.begin()

    def later(self, outlet: Outlet) -> None:
        """Have the outlet pump and flush in the next turn: it has had its share of this one."""
        self._later[outlet] = None

    @property
    def held(self) -> bool:
        """Clients' lines have to wait until it is known what this node still owns."""
        return self._held

    def _hold(self) -> None:
        """The lease is overdue. If Redis is away, that was to come; else this node has slept, and must ask first."""
        if self._directory.lease.failing:
            self._drift()
            return
        log.warning("lease overdue: holding clients' lines")
        self._held = True
        self._directory.lease.hurry()
        self._loop.call_later(HOLD_SECONDS, self._drift)

    def _drift(self) -> None:
        if not self._directory.lease.standing and not self._adrift:
            log.warning("redis away: chats on this node go on")
            self._let_go(adrift=True)

    def _let_go(self, *, adrift: bool) -> None:
        self._held, self._adrift = False, adrift
        self.begin()
        self._dirty.update(dict.fromkeys(self._outlets))

    @property
    def allowance(self) -> int:
        """See `Host`."""
        return self.budget.allowance

    async def mind_memory(self) -> None:
        """For ever: look at what is held, and share the budget out."""
        while True:
            await anyio.sleep(BUDGET_SECONDS)
            allowance = self.allowance
            self.budget.look(outlet.held_bytes for outlet in self._outlets)
            if self.allowance > allowance:  # who had to stop may go on
                self.begin()
                self._dirty.update(dict.fromkeys(self._outlets))

    # --- connections

    def plug(self, outlet: Outlet, *, program: bool) -> Session:
        """A session for a new client."""
        session = Session(self, program=program)
        session.outlet = outlet
        self._outlets.add(outlet)
        return session

    def unplug(self, session: Session, outlet: Outlet) -> None:
        """The client's connection is gone."""
        self._outlets.discard(outlet)
        if session.outlet is outlet:
            session.unplugged()

    def touch(self, outlet: Outlet) -> None:
        """Have the outlet pump and flush at the end of this turn."""
        self._dirty[outlet] = None

    # --- the host of sessions

    def tell(self, session: Session, event: Event) -> None:
        """See `Host`."""
        outlet = session.outlet
        if outlet is not None:
            outlet.tell(event)
            self._dirty[outlet] = None

    def post(self, uid: str, mail: Mail) -> None:
        """See `Host`."""
        if uid == self.uid:
            self._mail.append(mail)
        else:
            self._bus.post(uid, mail)

    def claim(self, session: Session, name: Name, claim: Claim) -> None:
        """See `Host`."""
        if name.owned in self.sessions:
            session.unclaimed(Code.NAME_TAKEN)
            return
        self.sessions[name.owned] = session
        self._tasks.start_soon(self._claim, session, name)

    async def _claim(self, session: Session, name: Name) -> None:
        sid, token = secrets.token_hex(8), secrets.token_urlsafe(32)
        token_hash = hash_token(token) if session.program else ""
        self._sids.add(sid)
        fence, code = None, Code.NAME_TAKEN
        try:
            body = Body(name.shown, session.grace, token_hash, False, "", None)
            fence = await self._directory.claim(name.owned, sid, body)
        except Unavailable as error:
            log.warning("claim not possible", error=str(error))
            code = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("claim failed")
            code = Code.UNAVAILABLE
        self.begin()
        if fence is None:
            self._sids.discard(sid)
            del self.sessions[name.owned]
            session.unclaimed(code)
        else:
            session.claimed(sid, fence, token, token_hash)
        self.wake(session)

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """See `Host`."""
        assert claim.resume is not None
        token_hash = hash_token(claim.resume.token)
        here = self.sessions.get(name.owned)
        if here is None:
            self.sessions[name.owned] = session
            self._tasks.start_soon(self._resume, session, name, claim, token_hash)
        elif here.state is State.NAMED and hmac.compare_digest(here.token_hash, token_hash):
            self._hand_over(session, here)
            resume.come_back(here, claim)
        else:
            session.unclaimed(Code.BAD_TOKEN)

    def _hand_over(self, session: Session, here: Session) -> None:
        """The connection of a new session becomes that of an old one."""
        old, new = here.outlet, session.outlet
        session.state, session.outlet, here.outlet = State.ENDED, None, new
        if old is not None:
            old.tell(Replaced())
            old.close()
        if new is not None:
            new.serve(here)
            self._dirty[new] = None

    async def _resume(self, session: Session, name: Name, claim: Claim, token_hash: str) -> None:
        sid, fence, holder, code = secrets.token_hex(8), None, None, Code.BAD_TOKEN
        self._sids.add(sid)
        try:
            holder = await self._directory.find_token(name.owned, token_hash)
            if holder is not None:
                fence = await self._directory.take_over(holder, name.owned, sid)
        except Unavailable as error:
            log.warning("resume not possible", error=str(error))
            code = Code.UNAVAILABLE
        except Exception:  # a defect must not take the other users' node down
            log.exception("resume failed")
            code = Code.UNAVAILABLE
        self.begin()
        if holder is None or fence is None:
            self._sids.discard(sid)
            del self.sessions[name.owned]
            session.unclaimed(code)
        else:
            body = holder.body
            legacy = Legacy(name, sid, fence, token_hash, body.chat, body.partner, body.ended)
            resume.inherit(session, legacy)
            self.post(holder.uid, Moved(name.owned, holder.sid))
            resume.come_back(session, claim)
        self.wake(session)

    def locate(self, owned: str, then: Callable[[Located | Code], None]) -> None:
        """See `Host`."""
        here = self.sessions.get(owned)
        if here is not None and here.state is State.NAMED:
            then(Located(here.presence, self.uid))
        else:
            self._tasks.start_soon(self._locate, owned, then)

    async def _locate(self, owned: str, then: Callable[[Located | Code], None]) -> None:
        try:
            found: Located | Code = await self._directory.locate(owned)
        except Unavailable:
            found = Code.UNAVAILABLE
        except Exception:  # likewise
            log.exception("lookup failed")
            found = Code.UNAVAILABLE
        self.begin()
        then(found)

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        """See `Host`."""
        self._records.save(session, then)

    def release(self, session: Session, then: Callable[[], None]) -> None:
        """See `Host`."""
        self.forget(session)
        self._records.release(session, then)

    def forget(self, session: Session) -> None:
        """See `Host`."""
        if self.sessions.get(session.owned) is session:
            del self.sessions[session.owned]
        self._sids.discard(session.sid)

    def close(self, session: Session) -> None:
        """See `Host`."""
        outlet, session.outlet = session.outlet, None
        if outlet is not None:
            outlet.close()

    def alarm(self, delay: float, then: Callable[[], None]) -> None:
        """See `Host`."""
        self._loop.call_later(delay, self._ring, then)

    def _ring(self, then: Callable[[], None]) -> None:
        self.begin()
        then()

    def new_id(self) -> str:
        """See `Host`."""
        return secrets.token_urlsafe(12)

    def wake(self, session: Session) -> None:
        """See `Host`."""
        if session.outlet is not None:
            self._dirty[session.outlet] = None

    # --- mail

    def receive(self, mails: list[Mail]) -> None:
        """Mail from another node."""
        self.begin()
        self._mail.extend(mails)

    def _deliver(self, mail: Mail) -> None:
        session = self.sessions.get(mail.to)
        if session is None or session.state is not State.NAMED:
            inbox.undeliverable(self, mail)
            return
        inbox.receive(session, mail)
        self.wake(session)

    # --- other nodes

    def partners(self) -> set[str]:
        """The nodes that hold a partner of someone here."""
        engaged = (session.engaged for session in self.sessions.values())
        return {partner.uid for _, partner in filter(None, engaged)} - {self.uid}

    def node_lost(self, uid: str, since: float) -> None:
        """That node is dead, for so many seconds: its text users are gone, its JSON users may come back elsewhere."""
        log.warning("node lost", uid=uid, seconds=round(since, 2))
        self.begin()
        self._bus.forget(uid)
        for session in list(self.sessions.values()):
            session.node_lost(uid, since)
            self.wake(session)

    def node_forgot(self, uid: str) -> None:
        """That node had given us up, mail to it was lost: settle with each partner there what it has."""
        self.begin()
        for session in self.sessions.values():
            if session.chat is not None and session.chat.partner.uid == uid:
                self.post(uid, session.chat.sync(session.party, reply=True))

    async def restore(self) -> None:
        """Settle what this node still owns, write it back, and look after every chat across nodes."""
        await self._records.write_all([s for s in self.sessions.values() if s.state is State.NAMED])
        self.begin()
        for uid in self.partners():
            self.node_forgot(uid)
        self._bus.ask()

    def stand(self) -> None:
        """The lease holds; from now on it's watched."""
        self._watching = True
        if self._held or self._adrift:
            self._let_go(adrift=False)

    def write_back(self, partition: int) -> None:
        """Redis forgot a partition: put the records of it back that are ours."""
        place = self._directory.keys.place
        for session in list(self.sessions.values()):
            if session.state is State.NAMED and place(session.owned).partition == partition:
                self._records.save(session)

    @property
    def quiet(self) -> bool:
        """Everyone is told, and every name given back or written down."""
        claiming = any(session.state is not State.NAMED for session in self.sessions.values())
        return not self._outlets and not claiming and self._records.quiet

    def here(self, sid: str) -> bool:
        """Whether a session of this node has this id."""
        return sid in self._sids

    def dismiss(self) -> None:
        """The node goes away."""
        self.begin()
        for session in list(self.sessions.values()):
            session.dismiss()
        for outlet in list(self._outlets):
            outlet.close()


def hash_token(token: str) -> str:
    """What the directory keeps of a token. 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()
