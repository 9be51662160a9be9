"""The sessions of this node, and the way between them: local mail stays here, other mail takes the bus."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, cast

import structlog
from anyio.abc import TaskGroup

from relay.bus.bus import Bus
from relay.directory.directory import Directory
from relay.hub.client_connection import Outlet
from relay.hub.delayed_acks import Held
from relay.hub.lease_guard import Standing
from relay.hub.login_queue import Entrance
from relay.hub.name_claims import Claims
from relay.hub.partial_lines import Halves
from relay.hub.peer_nodes import Neighbours
from relay.hub.record_writer import Records
from relay.hub.tick_scheduler import Turns
from relay.metrics import Counts, Limit
from relay.model import Located
from relay.names.parse import Name
from relay.protocol.errors import Code, Ending
from relay.protocol.events import Claim, Event
from relay.session import peer_handlers
from relay.session.drain import dismiss
from relay.session.memory_budget import Budget
from relay.session.partner_nodes import Partners
from relay.session.peer_messages import Ack, Mail, Moved
from relay.session.runtime import Limits
from relay.session.session import NAMED, Session
from relay.tasks.batches import in_slices
from relay.tasks.worker_pool import Crew

# Where Redis forgot one partition it mostly forgot many: what is to be put back is looked for once for all of them.
FORGOTTEN_SECONDS: Final = 0.02
# Ways to Redis and back in a call across nodes: where the other one is and whether its node lives, the invitation and
# its answer, two records; twice as many where scripts have to be loaded; and pipelines that have to come back first.
CALL_TRIPS: Final = 16
# Users looked at in one turn of the loop for that: half a millisecond.
SLICE: Final = 500
DEFAULT_MEMORY: Final = 256 * 1024 * 1024

log = structlog.get_logger()


class Router(Turns):
    """The host of all sessions of a node (see `relay.session.runtime.Host`)."""

    def __init__(
        self,
        uid: str,
        node: str,
        limits: Limits,
        memory: int = DEFAULT_MEMORY,
        counts: Counts | None = None,
        vouch: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """`vouch(name, token)`: whether the token proves that the name may be had; None: no name needs proof."""
        super().__init__()
        self.vouch, self.authenticates = vouch, vouch is not None
        self.uid = uid
        self.node = node
        self.limits = limits
        self.counts = counts or Counts()
        self.budget = Budget(memory)
        self.halves = Halves(self.budget)
        self.sessions: dict[str, Session] = {}  # by owned name
        self.partners = Partners()
        self.held = False  # clients' lines have to wait until it is known what this node still owns
        self._forgotten: set[int] = set()  # partitions to be written back
        self._outlets: set[Outlet] = set()
        self.held_acks = Held(self)

    def start(self, loop: asyncio.AbstractEventLoop, tasks: TaskGroup, directory: Directory, bus: Bus) -> None:
        """Everything is there: go."""
        self._loop, self._bus, self._lease = loop, bus, directory.lease
        self._crew = Crew(tasks)
        self._directory = directory
        self._standing = Standing(self._lease, loop.call_later, self._hold, self._let_go)
        self._records = Records(directory, tasks, self.begin)
        self.neighbours = Neighbours(self, bus)
        self._claims = Claims(self, directory, self._records, tasks)
        self.entrance = Entrance(loop.call_later, self._call_in)

    # --- who may go on

    def _hold(self) -> None:
        self.held = True

    def _let_go(self) -> None:
        self.held = False
        self.wake_all()

    def stand(self) -> None:
        """The lease holds; from now on it's watched."""
        self._standing.stands()

    def _call_in(self, newcomer: Outlet) -> None:
        if not self.over:
            self.begin()
            self.touch(newcomer)

    def watch_the_entrance(self, seconds: float) -> None:
        """To be called every so many seconds: whether newcomers have to leave time for those who talk."""
        counts = self.counts
        self.entrance.look(counts.taken + counts.delivered, seconds, away=self._lease.failing)

    @property
    def allowance(self) -> int:
        """See `Host`."""
        return self.budget.allowance

    @property
    def call_seconds(self) -> float:
        """See `Host`."""
        return self.limits.call + CALL_TRIPS * self._directory.latency

    @property
    def crowded(self) -> bool:
        """See `Host`."""
        return self._directory.crowded

    def wake_all(self) -> None:
        """Everyone may go on, as far as there is anything; also whoever was cut off with lines that had to wait."""
        self.begin()
        self._dirty.update(dict.fromkeys(self._outlets))
        self._dirty.update((s.outlet, None) for s in self.sessions.values() if s.outlet is not None)

    def call_on(self) -> None:
        """Whoever has lines that wait may try again, some in each turn."""
        self.begin()
        self._later.update((outlet, None) for outlet in self._outlets if outlet.lines)

    def go_on_with_halves(self) -> None:
        """The budget was shared out: whose turn it is to say the rest of a line is read on."""
        called = self.halves.look(self._loop.time())
        if called:
            self.begin()
            self._later.update(dict.fromkeys(cast(list[Outlet], called)))

    # --- connections

    @property
    def outlets(self) -> list[Outlet]:
        """Everyone who is connected."""
        return list(self._outlets)

    def holders(self) -> list[Outlet]:
        """Those of them that may hold something; who is gone is forgotten."""
        self.holding &= self._outlets
        return list(self.holding)

    def plug(self, outlet: Outlet, *, program: bool) -> Session:
        """A session for a new client."""
        session = Session(self, program=program)
        session.outlet = outlet
        self._outlets.add(outlet)
        self.counts.connections += 1
        return session

    def unplug(self, session: Session, outlet: Outlet) -> None:
        """The client's connection is gone."""
        self._outlets.discard(outlet)
        if session.outlet is outlet:
            session.unplugged()

    # --- the host of sessions

    def tell(self, session: Session, event: Event) -> None:
        """See `Host`."""
        outlet = session.outlet
        if outlet is not None and outlet.write_buffer.tell(event):
            self._dirty[outlet] = None

    def post(self, uid: str, mail: Mail) -> None:
        """See `Host`."""
        if uid == self.uid:
            self._mail.append(mail)
        else:
            self._bus.post(uid, mail)

    def mention(self, session: Session, event: Event) -> None:
        """See `Host`."""
        if session.outlet is not None and not session.outlet.write_buffer.behind:
            self.tell(session, event)

    def hint(self, uid: str, mail: Mail) -> None:
        """See `Host`."""
        if uid == self.uid or self._bus.flowing(uid):
            self.post(uid, mail)

    def admit(self, session: Session, claim: Claim) -> Code | None:
        """See `Host`."""
        if session.outlet is not None and not session.outlet.pace.may_claim(self._loop.time()):
            self.counts.hit(Limit.CLAIMS)
            return Code.RATE_LIMITED
        return Code.BAD_AUTH if self.vouch is not None and not self.vouch(claim.name, claim.auth) else None

    def admits_call(self, session: Session) -> bool:
        """See `Host`."""
        if session.outlet is None or session.outlet.pace.may_call(self._loop.time()):
            return True
        self.counts.hit(Limit.CALLS)
        return False

    def claim(self, session: Session, name: Name, claim: Claim) -> None:
        """See `Host`."""
        self._claims.claim(session, name)

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """See `Host`."""
        self._claims.resume(session, name, claim)

    def locate(self, owned: str, then: Callable[[Located | Code], None]) -> None:
        """See `Host`."""
        self._claims.locate(owned, then)

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        """See `Host`."""
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
        """See `Host`."""
        self.forget(session, why)
        self._records.release(session, then)

    def forget(self, session: Session, why: Ending) -> None:
        """See `Host`."""
        self._ended(session, why)
        if self.sessions.get(session.owned) is session:
            del self.sessions[session.owned]
        self._claims.forget(session.sid)

    def close(self, session: Session) -> None:
        """See `Host`."""
        outlet, session.outlet = session.outlet, None
        if outlet is not None:
            outlet.close()

    def new_id(self) -> str:
        """See `Host`."""
        return secrets.token_urlsafe(12)

    def called(self, session: Session) -> None:
        """See `Host`."""
        if session.outlet is not None:
            session.outlet.called()

    def wake(self, session: Session) -> None:
        """See `Host`."""
        if session.outlet is not None:
            self._dirty[session.outlet] = None

    # --- mail

    def moved(self, mail: Moved) -> None:
        """See `Host`."""
        self._claims.moved(mail)

    def _deliver(self, mail: Mail) -> None:
        session = self.sessions.get(mail.to)
        if session is None or session.state is not NAMED:
            peer_handlers.undeliverable(self, mail)
            return
        peer_handlers.receive(session, mail)
        outlet = session.outlet
        if outlet is not None and (outlet.lines or type(mail) is not Ack):
            self._dirty[outlet] = None

    # --- Redis and other nodes

    async def restore(self) -> None:
        """Settle what this node still owns, write it back, and look after every chat across nodes."""
        await self._records.write_all([s for s in self.sessions.values() if s.state is NAMED])
        self.begin()
        for uid in self.neighbours.partners():
            self.neighbours.forgot(uid)
        self._bus.ask()

    def write_back(self, *partitions: int) -> None:
        """Redis forgot these partitions: put the records of them back that are ours, shortly."""
        if not self._forgotten:
            self.alarm(FORGOTTEN_SECONDS, lambda: self._crew.start(self._write_back))
        self._forgotten.update(partitions)

    async def _write_back(self) -> None:
        partitions, self._forgotten = self._forgotten, set()
        async for session in in_slices(list(self.sessions.values()), SLICE):
            if session.state is NAMED and self._directory.keys.partition_of(session.owned) in partitions:
                self._records.save(session)
        await self._directory.tidy(partitions)

    @property
    def quiet(self) -> bool:
        """Everyone is told, and every name given back or written down."""
        claiming = any(session.state is not NAMED for session in self.sessions.values())
        return not self._outlets and not claiming and self._records.quiet

    def here(self, sid: str) -> bool:
        """Whether a session of this node has this id."""
        return self._claims.holds(sid)

    def dismiss(self) -> None:
        """The node goes away now."""
        self.begin()
        for session in list(self.sessions.values()):
            dismiss(session)
            if session.state is NAMED:  # resumed elsewhere, if at all
                self._ended(session, Ending.DRAINED)
        for outlet in list(self._outlets):
            outlet.close()
