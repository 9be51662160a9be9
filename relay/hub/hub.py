"""The sessions of this node, and the way between them: local mail stays here, other mail takes the bus."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from anyio.abc import TaskGroup

from relay.bus.bus import Bus
from relay.bus.delegates import BusDelegate
from relay.bus.link import Frame
from relay.directory.directory import Directory, DirectoryDelegate
from relay.hub.control_messages import ControlMessages
from relay.hub.delayed_acks import DelayedAcks
from relay.hub.lease_guard import LeaseGuard
from relay.hub.login_queue import LoginQueue
from relay.hub.name_claims import NameClaims
from relay.hub.partial_lines import PartialLines
from relay.hub.peer_nodes import PeerNodes
from relay.hub.record_writer import RecordWriter
from relay.hub.tick_scheduler import TickScheduler, log_defect
from relay.metrics import Counts, Limit
from relay.model import Located
from relay.names.parse import Name
from relay.protocol.errors import Code, Ending
from relay.protocol.events import Claim, Event
from relay.session import peer_handlers
from relay.session.client_connection import ClientConnection
from relay.session.drain import dismiss
from relay.session.memory_budget import MemoryBudget
from relay.session.partner_nodes import PartnerNodes
from relay.session.peer_messages import Ack, Mail, SessionMoved
from relay.session.runtime import Limits
from relay.session.session import Session
from relay.tasks.batches import in_slices
from relay.tasks.worker_pool import WorkerPool

# Where Redis forgot one partition it mostly forgot many: what is to be put back is looked for once for all of them.
FORGOTTEN_SECONDS: Final = 0.02
# Ways to Redis and back in a call across nodes: where the other one is and whether its node lives, the invitation and
# its answer, two records; twice as many where scripts have to be loaded; and pipelines that have to come back first.
CALL_TRIPS: Final = 16
# Users looked at in one turn of the loop for that: half a millisecond.
SLICE: Final = 500
# Lines handled in one turn of the loop: some ten milliseconds, so that a thousand floods don't hold it.
ROUND_LINES: Final = 4096
DEFAULT_MEMORY: Final = 256 * 1024 * 1024

log = structlog.get_logger()


class Hub:
    """Runs all sessions of a node (see `relay.session.runtime.SessionRuntime`); its bus and directory serve it."""

    def __init__(
        self,
        uid: str,
        node: str,
        limits: Limits,
        tasks: TaskGroup,
        *,
        directory: Callable[[DirectoryDelegate], Directory],
        bus: Callable[[BusDelegate], Bus],
        drain: Callable[[], None],
        memory: int = DEFAULT_MEMORY,
        counts: Counts | None = None,
        vouch: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """To be made in a running loop.

        `directory` and `bus` make those parts for the hub, which they don't call before they are used. `drain()` is
        called when the node is told to end. `vouch(name, token)` says whether the token proves that the name may be
        had; without it no name needs proof.
        """
        self.uid = uid
        self.node = node
        self.limits = limits
        self.counts = counts or Counts()
        self.vouch, self.authenticates = vouch, vouch is not None
        self.sessions: dict[str, Session] = {}  # by owned name
        self.partners = PartnerNodes()
        self.held = False  # clients' lines have to wait until it is known what this node still owns
        self.holding: set[ClientConnection] = set()  # those that may hold something: the quiet ones cost nothing
        self._outlets: set[ClientConnection] = set()
        self._forgotten: set[int] = set()  # partitions to be written back

        # The tick: `now` and `instant` see `SessionRuntime`.
        self.now = self.instant = 0.0
        self.turn = 0  # changes whenever mail is delivered or leaves
        self.round = 0  # ticks that there have been
        self.lines = ROUND_LINES  # lines that may still be handled in this tick, all clients together

        self._loop = asyncio.get_running_loop()
        self.bus = bus(self)
        self.directory = directory(self)
        self._lease = self.directory.lease
        self._ticks = TickScheduler(self._loop, opened=self._opened, deliver=self._deliver, flush=self.bus.flush)
        # Most inputs and messages call these: each is the scheduler's own method.
        self.begin, self.touch, self.later = self._ticks.begin, self._ticks.touch, self._ticks.later
        self.receive, self.alarm = self._ticks.receive, self._ticks.alarm

        self.budget = MemoryBudget(memory)
        self.halves = PartialLines(self.budget)
        self.held_acks = DelayedAcks(self)
        self.entrance = LoginQueue(self._loop.call_later, self._call_in)
        self.neighbours = PeerNodes(self, self.bus)
        self.notices = ControlMessages(uid, self.directory, self.bus, self, drain)
        self._standing = LeaseGuard(self._lease, self._loop.call_later, self._hold, self._let_go)
        self._crew = WorkerPool(tasks)
        self._records = RecordWriter(self.directory, tasks, self.begin)
        self._claims = NameClaims(self, self.directory, self._records, tasks)

    # --- ticks (see `TickScheduler`)

    def _opened(self) -> None:
        self.turn += 1
        self.round += 1
        self.lines = ROUND_LINES
        self.now, self.instant = int(time.time() * 1000) / 1000, time.monotonic()
        if self._standing.watching and not self._lease.standing:
            self._standing.overdue()

    def _deliver(self, mails: deque[Mail]) -> None:
        self.turn += 1
        while mails:
            mail = mails.popleft()
            try:
                session = self.sessions.get(mail.to)
                if session is None or not session.named:
                    peer_handlers.undeliverable(self, mail)
                    continue
                peer_handlers.receive(session, mail)
                outlet = session.outlet
                if outlet is not None and (outlet.lines or type(mail) is not Ack):
                    self._ticks.dirty[outlet] = None
            except Exception:
                log_defect()

    def halt(self) -> None:
        """Nobody carries anything out any more: timers that are left do nothing."""
        self._ticks.halted = True

    # --- who may go on

    def _hold(self) -> None:
        self.held = True

    def _let_go(self) -> None:
        self.held = False
        self.wake_all()

    def stand(self) -> None:
        """The lease holds; from now on it's watched."""
        self._standing.stands()

    def _call_in(self, newcomer: ClientConnection) -> None:
        if not self._ticks.halted:
            self.begin()
            self.touch(newcomer)

    def watch_the_entrance(self, seconds: float) -> None:
        """To be called every so many seconds: whether newcomers have to leave time for those who talk."""
        counts = self.counts
        self.entrance.look(counts.taken + counts.delivered, seconds, away=self._lease.failing)

    @property
    def allowance(self) -> int:
        """See `SessionRuntime`."""
        return self.budget.allowance

    @property
    def call_seconds(self) -> float:
        """See `SessionRuntime`."""
        return self.limits.call + CALL_TRIPS * self.directory.latency

    @property
    def crowded(self) -> bool:
        """See `SessionRuntime`."""
        return self.directory.crowded

    def wake_all(self) -> None:
        """Everyone may go on, as far as there is anything; also whoever was cut off with lines that had to wait."""
        self.begin()
        self._ticks.dirty.update(dict.fromkeys(self._outlets))
        self._ticks.dirty.update((s.outlet, None) for s in self.sessions.values() if s.outlet is not None)

    def call_on(self) -> None:
        """Whoever has lines that wait may try again, some in each turn."""
        self.begin()
        for outlet in self._outlets:
            if outlet.lines:
                self.later(outlet)

    def go_on_with_halves(self) -> None:
        """The budget was shared out: whose turn it is to say the rest of a line is read on."""
        called = self.halves.look(self._loop.time())
        if called:
            self.begin()
            for one in called:
                self.later(one)

    # --- connections

    @property
    def outlets(self) -> list[ClientConnection]:
        """Everyone who is connected."""
        return list(self._outlets)

    def holders(self) -> list[ClientConnection]:
        """Those of them that may hold something; who is gone is forgotten."""
        self.holding &= self._outlets
        return list(self.holding)

    def plug(self, outlet: ClientConnection, *, program: bool) -> Session:
        """A session for a new client."""
        session = Session(self, program=program)
        session.connect(outlet)
        self._outlets.add(outlet)
        self.counts.connections += 1
        return session

    def unplug(self, session: Session, outlet: ClientConnection) -> None:
        """The client's connection is gone."""
        self._outlets.discard(outlet)
        if session.outlet is outlet:
            session.unplugged()

    # --- the host of sessions

    def tell(self, session: Session, event: Event) -> None:
        """See `SessionRuntime`."""
        outlet = session.outlet
        if outlet is not None and outlet.write_buffer.tell(event):
            self._ticks.dirty[outlet] = None

    def post(self, uid: str, mail: Mail) -> None:
        """See `SessionRuntime`."""
        if uid == self.uid:
            self._ticks.mail.append(mail)
        else:
            self.bus.post(uid, mail)

    def mention(self, session: Session, event: Event) -> None:
        """See `SessionRuntime`."""
        if session.outlet is not None and not session.outlet.write_buffer.behind:
            self.tell(session, event)

    def hint(self, uid: str, mail: Mail) -> None:
        """See `SessionRuntime`."""
        if uid == self.uid or self.bus.flowing(uid):
            self.post(uid, mail)

    def admit(self, session: Session, claim: Claim) -> Code | None:
        """See `SessionRuntime`."""
        if session.outlet is not None and not session.outlet.pace.may_claim(self._loop.time()):
            self.counts.hit(Limit.CLAIMS)
            return Code.RATE_LIMITED
        return Code.BAD_AUTH if self.vouch is not None and not self.vouch(claim.name, claim.auth) else None

    def admits_call(self, session: Session) -> bool:
        """See `SessionRuntime`."""
        if session.outlet is None or session.outlet.pace.may_call(self._loop.time()):
            return True
        self.counts.hit(Limit.CALLS)
        return False

    def claim(self, session: Session, name: Name, claim: Claim) -> None:
        """See `SessionRuntime`."""
        self._claims.claim(session, name)

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """See `SessionRuntime`."""
        self._claims.resume(session, name, claim)

    def locate(self, owned: str, then: Callable[[Located | Code], None]) -> None:
        """See `SessionRuntime`."""
        self._claims.locate(owned, then)

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        """See `SessionRuntime`."""
        self._records.save(session, then)

    def began(self, session: Session, *, resumed: bool) -> None:
        """A session begins here, or goes on here."""
        session.began, outlet = self.instant, session.outlet
        who = {} if outlet is None else {"dialect": outlet.dialect, "client": outlet.peer}
        log.info("session started", name=session.owned, session=session.sid, resumed=resumed, **who)

    def _ended(self, session: Session, why: Ending) -> None:
        if session.began:
            self.counts.endings[why] += 1
            seconds = round(self.instant - session.began, 3)
            log.info("session ended", name=session.owned, session=session.sid, reason=str(why), seconds=seconds)
        session.began = 0.0

    def release(self, session: Session, then: Callable[[], None], why: Ending) -> None:
        """See `SessionRuntime`."""
        self.forget(session, why)
        self._records.release(session, then)

    def forget(self, session: Session, why: Ending) -> None:
        """See `SessionRuntime`."""
        self._ended(session, why)
        if self.sessions.get(session.owned) is session:
            del self.sessions[session.owned]
        self._claims.forget(session.sid)

    def close(self, session: Session) -> None:
        """See `SessionRuntime`."""
        outlet = session.disconnect()
        if outlet is not None:
            outlet.close()

    def new_id(self) -> str:
        """See `SessionRuntime`."""
        return secrets.token_urlsafe(12)

    def called(self, session: Session) -> None:
        """See `SessionRuntime`."""
        if session.outlet is not None:
            session.outlet.called()

    def wake(self, session: Session) -> None:
        """See `SessionRuntime`."""
        if session.outlet is not None:
            self._ticks.dirty[session.outlet] = None

    # --- mail

    def moved(self, mail: SessionMoved) -> None:
        """See `SessionRuntime`."""
        self._claims.moved(mail)

    # --- Redis and other nodes

    def forgot(self, uid: str) -> None:
        """See `BusDelegate`."""
        self.neighbours.forgot(uid)

    def heed(self, frame: Frame) -> None:
        """See `BusDelegate`."""
        self.notices.heed(frame)

    def forgotten(self, *partitions: int) -> None:
        """See `DirectoryDelegate`."""
        self.notices.forgotten(*partitions)

    async def restore(self) -> None:
        """Settle what this node still owns, write it back, and look after every chat across nodes."""
        await self._records.write_all([s for s in self.sessions.values() if s.named])
        self.begin()
        for uid in self.neighbours.partners():
            self.neighbours.forgot(uid)
        self.bus.ask()

    def write_back(self, *partitions: int) -> None:
        """Redis forgot these partitions: put the records of them back that are ours, shortly."""
        if not self._forgotten:
            self.alarm(FORGOTTEN_SECONDS, lambda: self._crew.start(self._write_back))
        self._forgotten.update(partitions)

    async def _write_back(self) -> None:
        partitions, self._forgotten = self._forgotten, set()
        async for session in in_slices(list(self.sessions.values()), SLICE):
            if session.named and self.directory.keys.partition_of(session.owned) in partitions:
                self._records.save(session)
        await self.directory.tidy(partitions)

    @property
    def quiet(self) -> bool:
        """Everyone is told, and every name given back or written down."""
        claiming = any(not session.named for session in self.sessions.values())
        return not self._outlets and not claiming and self._records.quiet

    def here(self, sid: str) -> bool:
        """See `DirectoryDelegate`."""
        return self._claims.holds(sid)

    def dismiss(self) -> None:
        """The node goes away now."""
        self.begin()
        for session in list(self.sessions.values()):
            dismiss(session)
            if session.named:  # resumed elsewhere, if at all
                self._ended(session, Ending.DRAINED)
        for outlet in list(self._outlets):
            outlet.close()
