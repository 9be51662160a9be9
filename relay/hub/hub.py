"""The hub runs the sessions of this node and routes peer messages: local ones stay here, others take the bus.

A crash of another node changes no record by itself. Sessions here are told (`peer_node_loss`). Each record stays
until the next claim of its name replaces it (`Directory._vacant`), or until the sweep removes it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from anyio.abc import TaskGroup

from relay.bus.bus import Bus
from relay.bus.delegates import BusDelegate
from relay.bus.reliable_link import Frame
from relay.clock import clocks
from relay.directory.directory import Directory, DirectoryDelegate
from relay.entropy import entropy
from relay.hub.control_messages import ControlMessages
from relay.hub.delayed_client_acks import DelayedClientAcks
from relay.hub.lease_doubt_hold import LeaseDoubtHold
from relay.hub.login_queue import LoginQueue
from relay.hub.loop_tick import LoopTick, log_defect
from relay.hub.name_claims import NameClaims
from relay.hub.partial_line_turns import PartialLineTurns
from relay.hub.peer_node_loss import PeerNodeLoss
from relay.hub.record_writer import RecordWriter
from relay.metrics import Counts, Limit
from relay.names.parse import Name
from relay.protocol.commands_and_events import Claim, Event
from relay.protocol.errors import Code, Ending
from relay.session import peer_handlers, usual_case
from relay.session.client_connection_interface import ClientConnection
from relay.session.drain import dismiss
from relay.session.memory_budget import MemoryBudget
from relay.session.partner_node_counts import PartnerNodeCounts
from relay.session.peer_messages import Ack, Mail, SessionMoved
from relay.session.runtime_interface import Limits
from relay.session.session import Session, State
from relay.shared_types import Located
from relay.tasks.batches import in_slices
from relay.tasks.worker_pool import WorkerPool

# If Redis lost one partition it mostly lost many, so the records to write back are searched once for all of them, after
# this time.
FORGOTTEN_SECONDS: Final = 0.02
# Round trips to Redis in a call across nodes: the look-ups of the callee and its node's lease, the invitation and its
# answer, and two records. They double if scripts have to be loaded, and pipelines may have to reconnect first.
CALL_TRIPS: Final = 16
# This many sessions are checked in one iteration of the loop when records are written back: half a millisecond.
SLICE: Final = 500
# At most this many lines are handled in one tick: some ten milliseconds, so that a thousand floods don't hold the loop.
ROUND_LINES: Final = 4096
DEFAULT_MEMORY: Final = 256 * 1024 * 1024

log = structlog.get_logger()


class Hub:
    """Runs all sessions of a node, as their `SessionRuntime`, and is the delegate of its bus and its directory."""

    def __init__(
        self,
        node_id: str,
        node: str,
        limits: Limits,
        tasks: TaskGroup,
        *,
        directory: Callable[[DirectoryDelegate], Directory],
        bus: Callable[[BusDelegate], Bus],
        drain: Callable[[], None],
        memory: int = DEFAULT_MEMORY,
        counts: Counts | None = None,
        general_way: bool = False,
        verify_token: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """Create the hub. An event loop must be running.

        `directory` and `bus` create those parts for the hub, and call it only once they are used. `drain()` is called
        when the node is told to stop. `verify_token(name, token)` returns whether the token proves the right to the
        name; without it no name needs a proof. With `general_way` no message takes the usual case.
        """
        self.node_id = node_id
        self.node = node
        self.limits = limits
        self.counts = counts or Counts()
        self.verify_token, self.authenticates = verify_token, verify_token is not None
        self.sessions: dict[str, Session] = {}  # by canonical name
        self.partner_node_counts = PartnerNodeCounts()
        self.usual_case = not general_way  # whether clients and peer messages may take `relay.session.usual_case`
        self.lines_held = False  # clients' lines wait until it is known which names this node still owns
        # Clients that may hold memory. Quiet ones aren't in it, so they aren't checked.
        self.memory_holders: dict[ClientConnection, None] = {}
        self._clients: dict[ClientConnection, None] = {}
        self._lost_partitions: set[int] = set()  # partitions to write back

        # The state of the tick (see `SessionRuntime` for `now` and `instant`).
        self.now = self.instant = 0.0
        self.flush_generation = 0  # changes whenever peer messages are delivered or leave
        self.loop_iteration = 0  # number of ticks so far
        self.lines_left = ROUND_LINES  # lines of all clients that may still be handled in this tick

        self._loop = asyncio.get_running_loop()
        self.bus = bus(self)
        self.directory = directory(self)
        self._lease = self.directory.lease
        self._tick = LoopTick(self._loop, opened=self._opened, deliver=self._deliver, flush=self.bus.flush)
        # These are the methods of `LoopTick` themselves, because most inputs and messages call them. `receive` is the
        # one of `BusDelegate`, which the bus calls for each frame: see `LoopTick.receive`.
        self.open_tick, self.mark_dirty, self.defer = self._tick.open_tick, self._tick.mark_dirty, self._tick.defer
        self.receive, self.call_later = self._tick.receive, self._tick.call_later

        self.memory_budget = MemoryBudget(memory)
        self.partial_line_turns = PartialLineTurns(self.memory_budget)
        self.delayed_acks = DelayedClientAcks(self)
        self.login_queue = LoginQueue(self._loop.call_later, self._call_in)
        self.peer_node_loss = PeerNodeLoss(self, self.bus)
        self.control_messages = ControlMessages(node_id, self.directory, self.bus, self, drain)
        self._lease_doubt_hold = LeaseDoubtHold(self._lease, self._loop.call_later, self._hold, self._let_go)
        self._worker_pool = WorkerPool(tasks)
        self._record_writer = RecordWriter(self.directory, tasks, self.open_tick)
        self._name_claims = NameClaims(self, self.directory, self._record_writer, tasks)

    # --- ticks (see `LoopTick`)

    def _opened(self) -> None:
        self.flush_generation += 1
        self.loop_iteration += 1
        self.lines_left = ROUND_LINES
        self.now, self.instant = int(clocks.wall() * 1000) / 1000, clocks.monotonic()
        if self._lease_doubt_hold.watching and not self._lease.standing:
            self._lease_doubt_hold.overdue()

    def _deliver(self, mails: deque[Mail]) -> None:
        self.flush_generation += 1
        while mails:
            mail = mails.popleft()
            try:
                session = self.sessions.get(mail.to)
                if session is None or not session.named:
                    peer_handlers.undeliverable(self, mail)
                    continue
                kind = type(mail)
                usual = usual_case.MAIL.get(kind) if self.usual_case else None
                if usual is None or not usual(session, mail):
                    peer_handlers.receive(session, mail)
                client = session.client
                if client is not None and (client.lines or kind is not Ack or client.write_buffer.size):
                    self._tick.dirty[client] = None
            except Exception:
                log_defect()

    def halt(self) -> None:
        """Stop all work: remaining timers do nothing."""
        self._tick.halted = True

    # --- holding clients, and letting them go on

    def _hold(self) -> None:
        self.lines_held = True

    def _let_go(self) -> None:
        self.lines_held = False
        self.wake_all()

    def stand(self) -> None:
        """Watch the lease, which holds, from now on."""
        self._lease_doubt_hold.stands()

    def _call_in(self, newcomer: ClientConnection) -> None:
        if not self._tick.halted:
            self.open_tick()
            self.mark_dirty(newcomer)

    def update_login_queue(self, seconds: float) -> None:
        """Update whether newcomers have to leave time for messages. This must be called every `seconds`."""
        counts = self.counts
        self.login_queue.update_talk(counts.accepted + counts.delivered, seconds, away=self._lease.failing)

    @property
    def call_seconds(self) -> float:
        """Seconds after which a call is given up, with some round trips to Redis added to the limit."""
        return self.limits.call + CALL_TRIPS * self.directory.latency

    @property
    def crowded(self) -> bool:
        """Whether requests to the directory queue, although it answers."""
        return self.directory.crowded

    def wake_all(self) -> None:
        """Have all clients handle their waiting lines, including disconnected ones whose lines still wait."""
        self.open_tick()
        self._tick.dirty.update(dict.fromkeys(self._clients))
        self._tick.dirty.update((s.client, None) for s in self.sessions.values() if s.client is not None)

    def call_on(self) -> None:
        """Have all clients with waiting lines try again, some in each tick."""
        self.open_tick()
        for client in self._clients:
            if client.lines:
                self.defer(client)

    def give_partial_line_turns(self) -> None:
        """Read again from clients whose turn has come to send the rest of a line, after memory was shared out."""
        called = self.partial_line_turns.give_turns(self._loop.time())
        if called:
            self.open_tick()
            for one in called:
                self.defer(one)

    # --- connections

    @property
    def clients(self) -> list[ClientConnection]:
        """All connected clients."""
        return list(self._clients)

    def connected_memory_holders(self) -> list[ClientConnection]:
        """Return the connected clients that may hold memory."""
        self.memory_holders = {client: None for client in self.memory_holders if client in self._clients}
        return list(self.memory_holders)

    def plug(self, client: ClientConnection, *, resumable: bool, counted: bool = False) -> Session:
        """Create a session for a new client. `counted` means that its connection is in the counters already."""
        session = Session(self, resumable=resumable)
        session.connect(client)
        self._clients[client] = None
        self.counts.connections += not counted
        return session

    def unplug(self, session: Session, client: ClientConnection) -> None:
        """Note that the client's connection is gone."""
        self._clients.pop(client, None)
        if session.client is client:
            session.unplugged()

    def withdraw(self, session: Session, client: ClientConnection) -> None:
        """Forget a connection that is no chat client after all, and its session, which has no name."""
        self._clients.pop(client, None)
        self.memory_holders.pop(client, None)
        session.disconnect()
        session.close()

    # --- the runtime of sessions

    def tell(self, session: Session, event: Event) -> None:
        """Add the event to the client's write buffer, which is flushed at the end of this tick."""
        client = session.client
        if client is not None and client.write_buffer.tell(event):
            self._tick.dirty[client] = None

    def post(self, node_id: str, mail: Mail) -> None:
        """Deliver the peer message at the end of this tick, or queue it on the bus for another node."""
        if node_id == self.node_id:
            self._tick.mail.append(mail)
        else:
            self.bus.post(node_id, mail)

    def send_if_writable(self, session: Session, event: Event) -> None:
        """Tell the event only if the client has read everything that was written to it."""
        if session.client is not None and not session.client.write_buffer.behind:
            self.tell(session, event)

    def post_if_writable(self, node_id: str, mail: Mail) -> None:
        """Post the peer message only if it can leave with the next flush of the bus."""
        if node_id == self.node_id or self.bus.flowing(node_id):
            self.post(node_id, mail)

    def admit(self, session: Session, claim: Claim) -> Code | None:
        """Count a claim or a resume, and check the client's rate limit and its proof of the name."""
        if session.client is not None and not session.client.rate_limiter.may_claim(self._loop.time()):
            self.counts.hit(Limit.CLAIMS)
            return Code.RATE_LIMITED
        return (
            Code.BAD_AUTH if self.verify_token is not None and not self.verify_token(claim.name, claim.auth) else None
        )

    def admits_call(self, session: Session) -> bool:
        """Count a call or a look-up, and check the client's rate limit."""
        if session.client is None or session.client.rate_limiter.may_call(self._loop.time()):
            return True
        self.counts.hit(Limit.CALLS)
        return False

    def claim(self, session: Session, name: Name, claim: Claim) -> None:
        """Ask the directory for the name, unless another session of this node decides the answer."""
        self._name_claims.claim(session, name)

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """Look the claim's session up in the directory, and take it over."""
        self._name_claims.resume(session, name, claim)

    def locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        """Look the owner up in the directory."""
        self._name_claims.locate(canonical_name, then)

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        """Queue a write of the session's record. At most one write of a session is under way."""
        self._record_writer.save(session, then)

    def began(self, session: Session, *, resumed: bool) -> None:
        """Log that a session has started or was resumed on this node."""
        session.started()
        client = session.client
        who = {} if client is None else {"dialect": client.dialect, "client": client.peer}
        log.info("session started", name=session.canonical_name, session=session.session_id, resumed=resumed, **who)

    def _ended(self, session: Session, why: Ending) -> None:
        seconds = session.stopped()
        if seconds is not None:
            self.counts.endings[why] += 1
            log.info(
                "session ended",
                name=session.canonical_name,
                session=session.session_id,
                reason=str(why),
                seconds=round(seconds, 3),
            )

    def release(self, session: Session, then: Callable[[], None], why: Ending) -> None:
        """Forget the session, and have its name given back after the write under way."""
        self.forget(session, why)
        self._record_writer.release(session, then)

    def forget(self, session: Session, why: Ending) -> None:
        """Log the end of the session, and no longer deliver peer messages to it."""
        self._ended(session, why)
        if self.sessions.get(session.canonical_name) is session:
            del self.sessions[session.canonical_name]
        self._name_claims.forget(session.session_id)
        if why is Ending.REPLACED:
            self._name_claims.taken_over(session.session_id)

    def close(self, session: Session) -> None:
        """Close the connection of the session's client, if it has one."""
        client = session.disconnect()
        if client is not None:
            client.close()

    def new_id(self) -> str:
        """Return a random id of 96 bits."""
        return entropy.token_urlsafe(12)

    def called(self, session: Session) -> None:
        """Mark the lines that the client sent before the call."""
        assert session.client is not None
        session.client.called()

    def wake(self, session: Session) -> None:
        """Have the client's waiting lines handled at the end of this tick."""
        if session.client is not None:
            self._tick.dirty[session.client] = None

    # --- peer messages

    def moved(self, mail: SessionMoved) -> None:
        """Keep the message while a claim or resume of its session is in flight here, and otherwise drop it."""
        self._name_claims.moved(mail)

    # --- Redis and other nodes

    def peer_forgot_us(self, node_id: str) -> None:
        """Have every session with a partner on that node compare with it which messages have arrived."""
        self.peer_node_loss.peer_forgot_us(node_id)

    def heed(self, frame: Frame) -> None:
        """Handle a roll call, a farewell, or an operator's command."""
        self.control_messages.heed(frame)

    def partitions_lost(self, *partitions: int) -> None:
        """Make a roll call for the partitions that Redis has lost."""
        self.control_messages.partitions_lost(*partitions)

    async def restore(self) -> None:
        """Write the records of all sessions that this node still owns, and resync every chat across nodes."""
        await self._record_writer.write_all([s for s in self.sessions.values() if s.named])
        self.open_tick()
        for node_id in sorted(self.peer_node_loss.partner_nodes()):
            self.peer_node_loss.peer_forgot_us(node_id)
        self.bus.ask()

    def write_back(self, *partitions: int) -> None:
        """Write this node's records in these partitions again after a short delay, because Redis has lost them."""
        if not self._lost_partitions:
            self.call_later(FORGOTTEN_SECONDS, lambda: self._worker_pool.start(self._write_back))
        self._lost_partitions.update(partitions)

    async def _write_back(self) -> None:
        partitions, self._lost_partitions = self._lost_partitions, set()
        async for session in in_slices(list(self.sessions.values()), SLICE):
            if session.named and self.directory.keys.partition_of(session.canonical_name) in partitions:
                self._record_writer.save(session)
        await self.directory.tidy(partitions)

    @property
    def written(self) -> bool:
        """Return whether no write of a record is under way."""
        return self._record_writer.quiet

    @property
    def quiet(self) -> bool:
        """Return whether all clients are gone and no claim or write of a record is under way."""
        claiming = any(not session.named for session in self.sessions.values())
        return not self._clients and not claiming and self.written

    def here(self, session_id: str) -> bool:
        """Return whether a session of this node has this id, or is about to have it."""
        return self._name_claims.holds(session_id)

    def left(self, session_id: str) -> bool:
        """Return whether a session of this node had this id, and was taken over a moment ago."""
        return self._name_claims.left(session_id)

    def dismiss(self) -> None:
        """End or detach all sessions and close all connections, because the node stops now."""
        self.open_tick()
        for session in list(self.sessions.values()):
            dismiss(session)
            if session.named:  # the client may resume it on another node
                self._ended(session, Ending.DRAINED)
        for client in list(self._clients):
            if client.session.state is State.CLAIMING:  # it waits for another session's name, so it isn't in `sessions`
                dismiss(client.session)
            client.close()
