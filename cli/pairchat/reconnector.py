"""This module keeps a session connected: it dials, reads, writes and pings, and reconnects when the connection is gone.

None of its tasks raises, so that the task group around them never mixes up errors. `failure` says why it ended.
"""

import math
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import islice

import anyio
import anyio.to_thread
from anyio.abc import ByteStream

from pairchat.credentials import Auth, prove
from pairchat.dial import Route, pauses
from pairchat.entropy import entropy
from pairchat.errors import ConnectionFailed, ConnectionLost, NotAdmitted, PairchatError
from pairchat.events import Bye, Complaint, Event, Lost
from pairchat.sansio_protocol import ClientProtocol
from pairchat.saved_session import SessionState
from pairchat.session_store import SessionStore
from pairchat.states import State
from pairchat.stream_errors import BROKEN, Closed
from pairchat.tls_setup import explain, refused

CONNECT_WAIT = 10.0  # seconds for a connection and, once more, for the answer to a claim
# Seconds after which the client leaves a node that has not resumed the session. It is longer than a node may take to
# ask a silent partner, and the owners of names after Redis lost them.
WELCOME_WAIT = 6.0
# Seconds for the answer to a claim, if there are other servers to ask. A node answers within a second or so.
CLAIM_WAIT = 3.0
# Seconds between pings, unless the node wants them more often. The client notices suspended or frozen nodes well within
# the grace that other nodes give the session.
PING_EVERY = 10.0
PING_SOON = 3.0  # seconds between pings while a text has no acknowledgement
# Seconds after a ping until a node that sent nothing counts as frozen. It is the time between pings if that is shorter.
PONG_WAIT = 10.0
# More seconds for the reader: if this process was suspended, the pong arrived long ago and only has to be read.
RECHECK_WAIT = 0.1
READ_BYTES = 65_536
_TLS_ALERT = b"\x15\x03"  # the first bytes of a TLS server's answer to a line without TLS


class Reconnector:
    """The connections of one session, one after another."""

    def __init__(
        self,
        protocol: ClientProtocol,
        route: Route,
        tell: Callable[[list[Event]], Awaitable[None]],
        reconnect_timeout: float | None,
        auth: Auth | None = None,
    ) -> None:
        self.failure: PairchatError | None = None
        self.over = False  # True when nothing more will be read
        self.store: SessionStore | None = None
        self.tries = 0  # number of attempts to reconnect since the connection was lost
        self._protocol = protocol
        self._route = route
        self._tell = tell
        self._reconnect_timeout = reconnect_timeout
        self._auth = auth
        self.proof: str | None = None  # the token that the program gave last
        self._trouble: str | None = None  # why the session was not resumed although there are connections
        self._lost: PairchatError | None = None  # the error with which the present outage began
        self._deadline = math.inf  # time at which the outage has lasted for the reconnect timeout, by anyio's clock
        self._elsewhere = route.others  # number of servers still to ask for a name if this one doesn't answer
        self._pauses: Iterator[float] = iter(())
        self._changed = anyio.Event()  # replaced at each change
        self._to_write = anyio.Event()
        self._parted = False  # the node confirmed the end with `bye`
        self._heard = 0.0  # time of the last read, by anyio's clock
        self._telling = False  # True while the reader waits for the program, not for the node
        self._reading = anyio.CancelScope()
        self._why: PairchatError | None = None  # why the present connection was given up
        self._kept: SessionState | None = None  # the state that was last given to the store
        self._unkept = False  # True if the store could not save it
        self.no_store: OSError | None = None  # why there is no store, until that is reported
        self.stream: ByteStream | None = None
        self.unwritten = b""  # bytes being written; after a cancellation they may not have been sent

    @property
    def server(self) -> str:
        """The server that was last connected to, as the user wrote it."""
        return str(self._route.current)

    async def open(self) -> None:
        """Make the first connection, or raise `ConnectionFailed`."""
        self.stream = await self._route.open(CONNECT_WAIT)

    async def run(self) -> None:
        """Serve the session until it is over. Afterwards `failure` says why, unless the client quit."""
        try:
            while True:
                why = await self._serve()
                if self._final(why):
                    return
                await self._tell(self._protocol.connection_lost(str(why)))
                self._wake()
                if self._lost is None:
                    self._begin_outage(why)
                if not await self._find():
                    self.failure = ConnectionLost(f"{self._lost}; {self._trouble}") if self._trouble else self._lost
                    return
        finally:
            self.over = True
            self._wake()

    async def reopen(self, wait: float) -> None:
        """Open one more connection, to give the name back. Raises `ConnectionFailed`."""
        self.stream, self.unwritten = await self._route.open(wait), b""
        self._protocol.reconnect()

    async def close(self) -> None:
        """Close the connection, at once if the node doesn't answer any more."""
        if self.stream is not None:
            await _close(self.stream, at_once=bool(self.failure) or self._protocol.claimed)

    def flush(self) -> None:
        """Wake the writer, because the protocol may have bytes to send."""
        self._to_write.set()

    def news(self) -> None:
        """Make `until` check its conditions again, after a change that no frame of the node caused."""
        self._wake()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true` returns True, and check it after each read. Raises `failure` once the session is over."""
        while not true():
            self.check()
            await self._changed.wait()

    def check(self) -> None:
        """Raise the error that ended the session, if it is over."""
        if self.failure:
            raise self.failure
        if self.over:
            raise ConnectionLost("the connection is closed")

    def give_up(self, failure: PairchatError) -> PairchatError:
        """End the session with this error, unless it has one already. Returns the error that counts."""
        self.failure = self.failure or failure
        self._reading.cancel()
        return self.failure

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # --- from one connection to the next

    def _final(self, why: PairchatError | None) -> bool:
        """Return True if the session can't continue on another connection."""
        if why is None or self.failure:
            return True
        if isinstance(why, NotAdmitted) and self._protocol.node is None:
            self.failure = why
            return True
        if self._claiming and self._elsewhere:
            self._elsewhere, self._lost = self._elsewhere - 1, None
            return False
        if self._protocol.name is None or self._protocol.state is State.OVER:
            self.failure = why
            return True
        return False

    @property
    def _claiming(self) -> bool:
        """True while the first claim of a name has no answer."""
        return self._protocol.name is None and self._protocol.state is State.CLAIMING

    def _begin_outage(self, why: PairchatError | None) -> None:
        self._lost = why
        self.tries = 0
        self._deadline = anyio.current_time() + (
            self._protocol.grace if self._reconnect_timeout is None else self._reconnect_timeout
        )
        self._pauses = islice(pauses(entropy.source), 1 if self._claiming else None)

    async def _find(self) -> bool:
        """Open another connection before the deadline and ask to resume the session there. Returns True on success."""
        for pause in self._pauses:
            pause = max(pause, self._route.wait)
            if anyio.current_time() + pause > self._deadline:
                return False
            await anyio.sleep(pause)
            self.tries += 1
            with suppress(ConnectionFailed):
                stream: ByteStream | None = await self._route.open(min(CONNECT_WAIT, self._left))
                try:
                    if await self._proved():
                        self.stream, stream = stream, None
                        self._protocol.reconnect()
                        self.flush()
                        return True
                finally:  # also reached if `auth` is cancelled
                    if stream is not None:
                        await stream.aclose()
            self._wake()
        return False

    @property
    def _left(self) -> float:
        """Seconds until the reconnect timeout."""
        return max(0.0, self._deadline - anyio.current_time())

    async def prove(self, wait: float) -> None:
        """Get the token from `auth`. Raises what `auth` raises, or `ConnectionFailed` after `wait` seconds."""
        with anyio.move_on_after(wait):
            self.proof = await prove(self._auth)
            return
        raise ConnectionFailed(f"no proof of the name within {wait:.2g} s")

    async def _proved(self) -> bool:
        """Get the token for a reconnect. Returns False if `auth` failed; it is called again for the next attempt."""
        try:
            await self.prove(min(CONNECT_WAIT, self._left))
        except Exception as error:
            self._trouble = f"no proof of the name: {error or type(error).__name__}"
            await self._tell([Complaint("no_proof", self._trouble)])
            return False
        return True

    def _found(self) -> None:
        if self._protocol.state is State.ONLINE:
            self._lost = self._trouble = None
            self.tries = 0

    # --- one connection

    async def _serve(self) -> PairchatError | None:
        """Read and write until the connection ends. Returns the reason, or None after a `bye`."""
        assert self.stream is not None
        self._why, self.unwritten = None, b""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            tasks.start_soon(self._watch)
            with anyio.CancelScope() as self._reading:
                await self._read()
            tasks.cancel_scope.cancel()
        # Not reached if cancelled: `quit` may still be sent on it. Who gave no answer won't answer a close either.
        await _close(self.stream, at_once=self._reading.cancelled_caught)
        if self._parted:
            return None
        return self._why

    async def _read(self) -> None:
        assert self.stream is not None
        silent = True
        try:
            while not self._why:
                data = await self.stream.receive(READ_BYTES)
                if silent and data.startswith(_TLS_ALERT):
                    raise ConnectionLost(f"{self.server} speaks TLS (--tls)")
                silent = False
                self._heard = anyio.current_time()
                await self._take(data)
        except BROKEN as error:
            if isinstance(error, Closed):
                await self._hand_on(self._protocol.closed(error.code))
            self._why = self._why or self._lost_by(error, silent=silent)
        except ConnectionLost as error:
            self._why = error

    def _lost_by(self, error: Exception, *, silent: bool) -> ConnectionLost:
        """Return the error for a lost connection. `silent` is True if nothing was read on it."""
        if isinstance(error, ssl.SSLError):
            if refused(error):  # in TLS 1.3 a server checks our certificate after our side of the handshake
                return NotAdmitted(f"can't connect to {self.server}: {explain(error)}")
            return ConnectionLost(f"the connection to {self.server} was lost: {explain(error, spoken=True)}")
        if isinstance(error, Closed):
            words = " ".join([str(error.code), *error.reason.split()])  # on one line
            return ConnectionLost(f"{self.server} closed the connection ({words})")
        if silent and self._protocol.node is None and self._route.bare:
            return ConnectionLost(f"{self.server} closes the connection at once: does it want TLS (--tls)?")
        return ConnectionLost(f"the connection to {self.server} was lost")

    async def _take(self, data: bytes) -> None:
        told = self._protocol.feed(data)
        self.flush()
        self._found()
        await self._hand_on(told)
        if self._protocol.unproved:
            self._trouble = f"{self.server} does not accept the proof of the name"
            self._why = ConnectionLost(self._trouble)
        elif self._protocol.stranded:
            self._why = ConnectionLost(f"the node at {self.server} is going away or can't serve now")

    async def _hand_on(self, told: list[Event]) -> None:
        """Give events to the program."""
        for event in told:
            if isinstance(event, Bye):
                self._parted = True
            elif isinstance(event, Lost) and self._protocol.state is State.OVER:
                self.failure = ConnectionLost(event.message)
        self._wake()
        self._telling = True
        await self._tell(told)
        self._telling = False

    async def _write(self) -> None:
        """Write all pending bytes at once, each time there are some. The reader reports a broken connection."""
        assert self.stream is not None
        with suppress(*BROKEN):
            while True:
                await self._to_write.wait()
                self._to_write = anyio.Event()
                await self._keep()
                if data := self._protocol.data_to_send():
                    self.unwritten = data
                    await self.stream.send(data)
                    self.unwritten = b""

    async def _keep(self) -> None:
        """Save the session before the node receives what is new in it, including changes made while it is saved.

        A failure is reported once, and the next change tries again.
        """
        if self.no_store is not None and self._protocol.memory is not None:
            error, self.no_store = self.no_store, None
            await self._tell_unkept(error)
        while self.store is not None and (memory := self._protocol.memory) not in (None, self._kept):
            assert memory is not None
            self._kept = memory
            try:
                await anyio.to_thread.run_sync(self.store.save, memory)
                self._unkept = False
            except OSError as error:
                if not self._unkept:
                    await self._tell_unkept(error)
                self._unkept = True

    async def _tell_unkept(self, error: OSError) -> None:
        words = f"can't write {error.filename}: {error.strerror}; a restart can't go on with this session"
        await self._tell([Complaint("not_kept", words)])

    async def _watch(self) -> None:
        """Give up the connection if the node doesn't resume the session in time, or answers no ping."""
        protocol = self._protocol
        with suppress(PairchatError):
            if protocol.state is State.NAMELESS:
                await self._to_write.wait()  # until a name is claimed
            with anyio.move_on_after(self._welcome_wait) as waiting:
                await self.until(lambda: protocol.state in (State.ONLINE, State.RETURNING))
            if waiting.cancelled_caught:
                self._cut(f"{self.server} did not give the session back within {WELCOME_WAIT:g} s")
            while True:
                await anyio.sleep(
                    min(protocol.ping_every, PING_SOON if protocol.unacked_messages.pending else PING_EVERY)
                )
                if self.store is not None:
                    self.store.alive()
                if protocol.state is State.ONLINE and not self._telling and not protocol.waiting_on_partner:
                    await self._probe()

    @property
    def _welcome_wait(self) -> float:
        if self._protocol.state is State.RESUMING:
            return WELCOME_WAIT
        return CLAIM_WAIT if self._elsewhere else math.inf

    async def _probe(self) -> None:
        asked = anyio.current_time()
        self._protocol.ping()
        self.flush()
        await anyio.sleep(min(PONG_WAIT, self._protocol.ping_every))
        await anyio.sleep(RECHECK_WAIT)
        if self._heard < asked and not self._telling:
            self._cut(f"no answer from {self.server} any more")

    def _cut(self, why: str) -> None:
        self._why = ConnectionLost(why)
        self._reading.cancel()


async def _close(stream: ByteStream, *, at_once: bool) -> None:
    """Close a connection. A WebSocket takes a moment for its closing handshake, unless it has to be done `at_once`."""
    if at_once:
        await anyio.aclose_forcefully(stream)
    else:
        await stream.aclose()
