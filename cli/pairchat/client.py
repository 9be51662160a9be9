"""An async client, for plain asyncio and anyio:

    async with pairchat.connect("localhost:9999", name="alice") as chat:
        await chat.call("bob")
        receipt = await chat.send("hi")
        await receipt.delivered()
        async for event in chat:
            ...

All tasks live inside `async with` and end with it. Every method may be cancelled at any await: what it asked for has
then either been asked in full or not at all, and no event is lost. A call that is cancelled is given up.
"""

import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import anyio

from pairchat.address import parse_address
from pairchat.dial import BROKEN, Route
from pairchat.errors import ConnectionFailed, ConnectionLost, PairchatError, Refused
from pairchat.events import Event, Invited, Joined, Message, Outgoing, Paired, Presence, Ref
from pairchat.link import CONNECT_WAIT, READ_BYTES, Link
from pairchat.proof import Auth
from pairchat.protocol import ClientProtocol, Tap
from pairchat.receipt import Receipt
from pairchat.requests import Request
from pairchat.states import State
from pairchat.store import Store

DEFAULT_SERVER = "localhost:9999"  # of `relay node`
NAME_PAUSE = 0.5  # seconds between two claims of a name that is taken, while there is patience
# Seconds that an exit by an exception gives to the outcome of what was said, and then to the `quit`.
FAREWELL_WAIT = 1.0
# Events that wait for the program before reading stops. A default window of 256 texts each way and all their fates fit,
# so only a program that never looks at its events gets there.
EVENTS_AHEAD = 1024
# Texts dealt with before they are acknowledged although more are waiting: a fraction of a default window, so that the
# partner need not stop.
ACK_AFTER = 32


def begin_at(servers: int) -> int:
    """The first of so many servers to try: at random, so that the clients of a relay spread over its nodes."""
    return random.randrange(servers)


class Chat:
    """A session under a name, with at most one partner at a time.

    Iterate over it for events, in one task. A `Message` is acknowledged when the loop asks for the next event, in
    batches: the sender then knows that this program has dealt with it. If the loop body raises, it is not.

    While the connection is gone (between `Dropped` and `Joined`) everything may still be asked and said: it waits.
    """

    def __init__(
        self,
        servers: tuple[str, ...],
        *,
        patience: float | None,
        state: Path | None,
        tap: Tap | None,
        tls: ssl.SSLContext | None,
        ask: bool,
        auth: Auth | None = None,
    ) -> None:
        addresses = [parse_address(server) for server in servers]
        first = begin_at(len(addresses))
        route = Route(addresses[first:] + addresses[:first], tls)
        self._servers, self._state = servers, state
        self._protocol = ClientProtocol(tap=tap, ask=ask, proof=lambda: self._link.proof)
        self._link = Link(self._protocol, route, self._take, patience, auth)
        self._turn = anyio.Lock()  # senders go in the order in which they came
        self._tell, self._told = anyio.create_memory_object_stream[Event](EVENTS_AHEAD)
        self._happened = 0  # events told
        self._in_hand: Message | None = None  # handed out; dealt with once the next event is asked for
        self._done: Message | None = None  # the latest that was dealt with
        self._unacknowledged = 0  # dealt with, but not acknowledged

    @property
    def name(self) -> str | None:
        """Our name as the node confirmed it; None before `claim`, and after it was lost or given back."""
        return self._protocol.name

    @property
    def partner(self) -> str | None:
        """Whom we are chatting with."""
        return self._protocol.partner

    @property
    def chat(self) -> str | None:
        """The id of the chat that we are in; a `Left` or `Message` with another one is of a chat before."""
        return self._protocol.chat

    @property
    def max_line(self) -> int:
        """Bytes of the longest line that the node takes: a text, escaped as in JSON, and its frame."""
        return self._protocol.max_line

    @property
    def online(self) -> bool:
        """Whether a node serves the session now. If not, another connection is being looked for."""
        return self._protocol.state is State.ONLINE

    @property
    def server(self) -> str:
        """The server that we are or were connected to, as it was given."""
        return self._link.server

    @property
    def tries(self) -> int:
        """How often it was tried to reconnect since the connection was lost; 0 while there is one."""
        return self._link.tries

    @property
    def token(self) -> str | None:
        """What a later connection can resume this session with. A secret."""
        return self._protocol.token

    @property
    def happened(self) -> int:
        """How many events there have been: so many can be asked for without waiting, in the whole."""
        return self._happened

    @property
    def pending(self) -> tuple[Outgoing, ...]:
        """Our texts whose fate isn't known, oldest first. After a lost connection they may or may not have arrived."""
        return tuple(self._protocol.outbox.pending)

    # --- what to do

    async def claim(self, name: str) -> str:
        """Take a name, or go on with the session that a killed program left under it. Returns it as the node shows it.

        Raises `Refused` (`name_taken`, `name_invalid`, …; try another), `ConnectionFailed` if nothing answers.
        """
        await self._link.prove(CONNECT_WAIT)
        with anyio.move_on_after(CONNECT_WAIT):
            outcome = await self._answer(lambda: self._claim(name))
            return outcome.name if isinstance(outcome, Joined) else name
        raise self._link.give_up(ConnectionFailed(f"{self.server} does not answer"))

    def _claim(self, name: str) -> Request:
        self._close_store()
        memory = None
        if self._state is not None:
            try:
                self._link.store = Store(self._state, name, self._servers)
                memory = self._link.store.load()
            except BlockingIOError:
                pass  # another program's, which has the name as well: it is for the node to refuse us
            except OSError as error:
                self._link.no_store = error
        # A protocol that has had a name has ids of its own.
        if memory is None or self._protocol.node is not None:
            return self._protocol.claim(name)
        return self._protocol.recall(memory)

    async def call(self, name: str, *, ref: Ref | None = None) -> str:
        """Chat with `name`, leaving a present partner. Returns the name as its owner wrote it.

        Raises `Refused` (`no_such_user`, `busy`, `away`, `declined`, …): then nothing has changed. One who answers
        calls in person (`Ringing`) may take half a minute; meanwhile a present chat goes on. `cancel_call` ends that;
        so does whatever cancels this, such as `move_on_after`: the call makes no chat then, however late.

        `ref`, here and below: comes back in the events that answer this.
        """
        request = self._ask(lambda: self._protocol.call(name, ref))
        try:
            outcome = await self._outcome(request)
        except anyio.get_cancelled_exc_class():
            self._protocol.cancel(request)
            self._link.flush()
            raise
        return outcome.name if isinstance(outcome, Paired) else name

    def cancel_call(self) -> None:
        """Give up a call: `call` raises `Refused` then (`declined`), unless it was answered before."""
        self._protocol.cancel()
        self._link.flush()
        self._link.news()

    async def accept(self, call: Invited, *, ref: Ref | None = None) -> str:
        """Take a call. Returns the caller's name. Raises `Refused` if it is over."""
        outcome = await self._answer(lambda: self._protocol.accept(call.chat, ref))
        if isinstance(outcome, Paired):
            return outcome.name
        raise Refused("not_called", f"{call.name} does not call any more", name=call.name)

    def decline(self, call: Invited) -> None:
        """Don't take a call."""
        self._protocol.decline(call.chat)
        self._link.flush()

    async def block(self, name: str, *, ref: Ref | None = None) -> None:
        """Have somebody's calls refused as long as this session lives. Raises `Refused`."""
        await self._answer(lambda: self._protocol.block(name, ref))

    async def unblock(self, name: str, *, ref: Ref | None = None) -> None:
        """Let somebody call again. Raises `Refused`."""
        await self._answer(lambda: self._protocol.unblock(name, ref))

    def typing(self) -> None:
        """Tell the partner that somebody is typing here, if that can be told at once. Every few seconds is enough."""
        self._protocol.typing()
        self._link.flush()

    async def who(self, name: str, *, ref: Ref | None = None) -> str:
        """Somebody's presence: `free`, `busy` (also: calls, or is asked about a call), `away` or `offline`."""
        outcome = await self._answer(lambda: self._protocol.who(name, ref))
        return outcome.state if isinstance(outcome, Presence) else "offline"

    async def send(self, text: str) -> Receipt:
        """Say something to the partner; waits while the window is full.

        Raises `Refused` (`not_paired`, also if the chat ended while waiting; `too_long`) or ValueError (empty, lone
        surrogates); nothing is sent then.
        """
        chat = self._protocol.chat
        if not self._protocol.room(text):
            self._acknowledge()  # or two programs that answer each other could wait for each other
        async with self._turn:
            await self._link.until(lambda: self._protocol.chat != chat or self._protocol.room(text))
            if chat is None or self._protocol.chat != chat:
                raise Refused("not_paired", "nobody is chatting with you")
            entry = self._protocol.send(text)
            self._link.flush()
        return Receipt(self._link, entry)

    async def leave(self, *, ref: Ref | None = None) -> None:
        """End the chat and keep the name. Returns when everything said before has its fate."""
        await self._answer(lambda: self._protocol.leave(ref))

    async def paired(self) -> str:
        """Wait until there is a partner, whoever called. Returns the name."""
        await self._link.until(lambda: self._protocol.partner is not None)
        return self._protocol.partner or ""

    async def settled(self) -> None:
        """Wait until no text is pending."""
        await self._link.until(lambda: not self._protocol.outbox.pending)

    async def quit(self) -> None:
        """Give the name back. Returns when everything said before has its fate and the node has said good-bye."""
        await self._answer(self._protocol.quit)

    # --- what happens

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. Ends after `Bye`; raises `ConnectionLost` when there is nothing more to come."""
        self._put_down()
        if self._unacknowledged >= ACK_AFTER or not self._told.statistics().current_buffer_used:
            self._acknowledge()
        try:
            event = await self._told.receive()
        except anyio.EndOfStream:
            if self._link.failure:
                raise self._link.failure from None
            raise StopAsyncIteration from None
        if isinstance(event, Message):
            self._in_hand = event
        return event

    def acknowledge(self) -> None:
        """Say that the text handed out last has been dealt with. Only a loop that ends there needs this."""
        self._put_down()
        self._acknowledge()

    def _put_down(self) -> None:
        if self._in_hand:
            self._done, self._in_hand = self._in_hand, None
            self._unacknowledged += 1

    def _acknowledge(self) -> None:
        if self._done and self._unacknowledged:
            self._unacknowledged = 0
            self._protocol.acknowledge(self._done)
            self._link.flush()

    # --- the whole

    @asynccontextmanager
    async def _served(self, name: str | None) -> AsyncIterator[None]:
        """Connected in here, and gone afterwards."""
        failure: BaseException | None = None
        try:
            await self._link.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._run)
                try:
                    if name is not None:
                        await self.claim(name)
                    yield
                    await self._finish()
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException as error:
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            self._tell.close()
            self._told.close()
            with anyio.CancelScope(shield=True):  # none of it takes long
                await self._farewell()
                await self._link.close()
            self._close_store()
        if failure is not None:
            raise failure  # out here, because the task group would wrap it in an ExceptionGroup

    # --- waiting

    async def _answer(self, ask: Callable[[], Request]) -> Event:
        """Ask, and wait for the outcome."""
        return await self._outcome(self._ask(ask))

    def _ask(self, ask: Callable[[], Request]) -> Request:
        self._link.check()
        request = ask()
        self._link.flush()
        return request

    async def _outcome(self, request: Request) -> Event:
        await self._link.until(lambda: request.outcome is not None)
        outcome = request.outcome
        assert outcome is not None
        if isinstance(outcome, PairchatError):
            raise outcome
        return outcome

    async def _run(self) -> None:
        """Serve the session; at its end there are no more events."""
        try:
            await self._link.run()
        finally:
            self._tell.close()

    async def _take(self, told: list[Event]) -> None:
        self._happened += len(told)  # at once: whoever waited for one of them may go on before all are handed over
        for event in told:
            with suppress(anyio.BrokenResourceError):  # the program has left the block: it wants no more events
                await self._tell.send(event)

    # --- the end

    async def _finish(self) -> None:
        """The program is done: give the name back. A connection that is gone matters only if a text's fate is open."""
        self._told.close()
        try:
            if self.name is not None:
                await self.quit()
        except ConnectionLost:
            if self.pending:
                raise

    async def _farewell(self) -> None:
        """The program failed or was cancelled, and the tasks are gone: give the name back all the same.

        Also one that is just being claimed, or that waits for a connection. What was said may still have its outcome,
        for a moment; then the name is given back without.
        """
        protocol, link = self._protocol, self._link
        if link.failure or not protocol.claimed:
            return
        with suppress(*BROKEN, PairchatError):
            if protocol.state is State.OFFLINE:
                await link.reopen(FAREWELL_WAIT)
            protocol.cancel()
            for now in (False, True):
                protocol.farewell(now=now)
                with anyio.move_on_after(FAREWELL_WAIT):
                    await self._last_words()
                    return

    async def _last_words(self) -> None:
        """Say what is to be said, and listen until the node has heard it."""
        link, protocol = self._link, self._protocol
        assert link.stream is not None
        # Twice does no harm: the node knows each text by its id, and closes at the first `quit`.
        data, link.unwritten = link.unwritten + protocol.data_to_send(), b""
        while protocol.state is not State.OVER:
            if data:
                await link.stream.send(data)
            protocol.feed(await link.stream.receive(READ_BYTES))
            data = protocol.data_to_send()

    def _close_store(self) -> None:
        """Forget the session on disk once the name is given back; one that is only cut off may be resumed."""
        store, self._link.store = self._link.store, None
        if store is not None:
            if self._protocol.memory is None:
                with suppress(OSError):  # what is left there is good for nothing any more
                    store.forget()
            store.close()


@asynccontextmanager
async def connect(
    *servers: str,
    name: str | None = None,
    patience: float | None = None,
    state: Path | None = None,
    tap: Tap | None = None,
    tls: ssl.SSLContext | None = None,
    ask: bool = False,
    auth: Auth | None = None,
) -> AsyncIterator[Chat]:
    """Connect to a node of one relay, and take `name` if one is given; else `claim` one.

    `servers`: each `host`, `host:port` or `[IPv6]:port`, by default `localhost:9999`; a host name stands for all its
    addresses. The first one is chosen at random. When a connection is lost, or its node falls silent, the next one is
    taken, and the session goes on there: what was not acknowledged is sent again, nothing is told twice.
    `patience`: for how many seconds a lost connection is looked for, by default as long as the node keeps the session
    (its grace); 0: not at all; `math.inf`: for ever. `ConnectionLost` follows. Neither a server nor an `auth` that
    hangs prolongs it; only a node that has been asked for the session has up to six seconds for its answer. If it is
    given, a name that is taken is waited for as long, too: it may be that of a program of ours that was killed.
    `state`: a folder in which token and unacknowledged texts are kept until the name is given back, so that a killed
    program that is started again resumes as well. Without it nothing is written.
    `tap`: is shown every line, see `ClientProtocol`. `tls`: speak TLS, and check the relay's certificate so.
    `ask`: calls don't make a chat at once; `Invited` tells of them, and `Chat.accept` or `Chat.decline` answers.
    `auth`: called, and awaited if need be, for the signed token that proves the name, where the relay wants one, at
    each connection. If it raises when a lost connection is looked for, or the relay does not accept what it gives
    (`Complaint`), it is asked again, as long as a connection is looked for: the session is not lost by that.

    At the end of the block the name is given back: after everything that was said has its fate if the block ended
    well; whatever else ends it, within seconds.
    Raises `BadServer`, `ConnectionFailed`, `Refused`, and at the end `ConnectionLost` if the fate of a text is open.
    """
    servers = servers or (DEFAULT_SERVER,)
    deadline = anyio.current_time() + (patience or 0.0)
    async with AsyncExitStack() as stack:
        while True:
            chat = Chat(servers, patience=patience, state=state, tap=tap, tls=tls, ask=ask, auth=auth)
            try:
                await stack.enter_async_context(chat._served(name))
                break
            except Refused as error:
                left = deadline - anyio.current_time()
                if error.code != "name_taken" or left <= 0:
                    raise
            await anyio.sleep(min(NAME_PAUSE, left))
        yield chat
