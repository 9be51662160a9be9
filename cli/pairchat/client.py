"""An async client, for plain asyncio and anyio:

    async with pairchat.connect("localhost:9999", name="alice") as chat:
        await chat.call("bob")
        receipt = await chat.send("hi")
        await receipt.delivered()
        async for event in chat:
            ...

All tasks live inside `async with` and end with it. Every method may be cancelled at any await: what it asked for has
then either been asked in full or not at all, and no event is lost.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio
from anyio.abc import ByteStream

from pairchat.address import Address, parse_address
from pairchat.dial import dial
from pairchat.errors import (
    ConnectionFailed,
    ConnectionLost,
    NotConfirmed,
    PairchatError,
    Refused,
)
from pairchat.events import Bye, Event, Fate, Joined, Lost, Message, Outgoing, Paired, Presence
from pairchat.protocol import ClientProtocol, Request

CONNECT_WAIT = 10.0  # seconds for a connection and, once more, for the answer to a claim
# Seconds from a ping until a node that sent nothing since counts as frozen; the time between pings, if that is shorter.
PONG_WAIT = 10.0
# Seconds more for the reader: if it was this process that was stopped, the pong has been here for long.
RECHECK_WAIT = 0.1
FAREWELL_WAIT = 1.0  # seconds that an exit by an exception gives to the `quit`
READ_BYTES = 65_536
# Events that wait for the program before reading stops. A window of 256 texts each way and all their fates fit, so only
# a program that never looks at its events gets there.
EVENTS_AHEAD = 1024
# Texts dealt with before they are acknowledged although more are waiting: a fraction of any node's window, so that the
# partner need not stop.
ACK_AFTER = 32

_BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Receipt:
    """What becomes of one text."""

    def __init__(self, chat: "Chat", text: Outgoing) -> None:
        self._chat = chat
        self._text = text

    @property
    def id(self) -> int:
        """The text's id in this session. It may still fall by a few while the text is pending."""
        return self._text.id

    @property
    def text(self) -> str:
        """What was said."""
        return self._text.text

    @property
    def fate(self) -> Fate:
        """What is known by now."""
        return self._text.fate

    async def delivered(self) -> str:
        """Wait for the acknowledgement. Returns who gave it: `client` (the partner's program has the text) or `node`.

        Raises `NotConfirmed`, `Refused`, or `ConnectionLost`: then nobody knows.
        """
        text = self._text
        await self._chat._until(lambda: text.fate is not Fate.PENDING)
        if text.fate is Fate.UNCONFIRMED:
            raise NotConfirmed(text.detail)
        if text.fate is Fate.REFUSED:
            raise Refused(text.detail, f"the relay refused the text ({text.detail})")
        return text.by


class Chat:
    """A connection with a name, and at most one partner at a time.

    Iterate over it for events, in one task. A `Message` is acknowledged when the loop asks for the next event, in
    batches: the sender then knows that this program has dealt with it. If the loop body raises, it is not.
    """

    def __init__(self, stream: ByteStream, address: Address) -> None:
        self._stream = stream
        self._address = address
        self._protocol = ClientProtocol()
        self._failure: PairchatError | None = None
        self._parted = False  # the node said good-bye
        self._over = False  # nothing more will be read
        self._changed = anyio.Event()  # replaced at each change
        self._to_write = anyio.Event()
        self._turn = anyio.Lock()  # senders go in the order in which they came
        self._tell, self._told = anyio.create_memory_object_stream[Event](EVENTS_AHEAD)
        self._in_hand: Message | None = None  # handed out; dealt with once the next event is asked for
        self._done: Message | None = None  # the latest that was dealt with
        self._unacknowledged = 0  # dealt with, but not acknowledged
        self._heard = 0.0  # when something was last read, by anyio's clock
        self._reading = anyio.CancelScope()
        self._telling = False  # the reader waits for the program, not for the node

    @property
    def name(self) -> str | None:
        """Our name as the node confirmed it; None before `claim`, and after it was lost or given back."""
        return self._protocol.name

    @property
    def partner(self) -> str | None:
        """Whom we are chatting with."""
        return self._protocol.partner

    @property
    def token(self) -> str | None:
        """What a later connection can resume this session with. A secret."""
        return self._protocol.token

    @property
    def pending(self) -> tuple[Outgoing, ...]:
        """Our texts whose fate isn't known, oldest first. After a lost connection they may or may not have arrived."""
        return tuple(self._protocol.outbox.pending)

    # --- what to do

    async def claim(self, name: str) -> str:
        """Take a name. Returns it as the node shows it.

        Raises `Refused` (`name_taken`, `name_invalid`, …; try another), `ConnectionFailed` if nothing answers.
        """
        with anyio.move_on_after(CONNECT_WAIT):
            outcome = await self._answer(lambda: self._protocol.claim(name))
            return outcome.name if isinstance(outcome, Joined) else name
        raise self._fail(ConnectionFailed(f"{self._address} does not answer"))

    async def call(self, name: str) -> str:
        """Chat with `name`, leaving a present partner. Returns the name as its owner wrote it.

        Raises `Refused` (`no_such_user`, `busy`, `away`, …): then nothing has changed.
        """
        outcome = await self._answer(lambda: self._protocol.call(name))
        return outcome.name if isinstance(outcome, Paired) else name

    async def who(self, name: str) -> str:
        """Somebody's presence: `free`, `busy`, `away` or `offline`."""
        outcome = await self._answer(lambda: self._protocol.who(name))
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
            await self._until(lambda: self._protocol.chat != chat or self._protocol.room(text))
            if chat is None or self._protocol.chat != chat:
                raise Refused("not_paired", "nobody is chatting with you")
            entry = self._protocol.send(text)
            self._flush()
        return Receipt(self, entry)

    async def leave(self) -> None:
        """End the chat and keep the name. Returns when everything said before has its fate."""
        await self._answer(self._protocol.leave)

    async def paired(self) -> str:
        """Wait until there is a partner, whoever called. Returns the name."""
        await self._until(lambda: self._protocol.partner is not None)
        return self._protocol.partner or ""

    async def settled(self) -> None:
        """Wait until no text is pending."""
        await self._until(lambda: not self._protocol.outbox.pending)

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
            if self._failure:
                raise self._failure from None
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
            self._flush()

    # --- waiting

    async def _answer(self, ask: Callable[[], Request]) -> Event:
        """Ask, and wait for the outcome."""
        self._check()
        request = ask()
        self._flush()
        await self._until(lambda: request.outcome is not None)
        outcome = request.outcome
        assert outcome is not None
        if isinstance(outcome, PairchatError):
            raise outcome
        return outcome

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for something that what the node says makes true. Raises `ConnectionLost` if it can't any more."""
        while not true():
            self._check()
            await self._changed.wait()

    def _check(self) -> None:
        if self._failure:
            raise self._failure
        if self._over:
            raise ConnectionLost("the connection is closed")

    def _flush(self) -> None:
        self._to_write.set()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # --- the tasks behind it: none of them raises, so that a task group around them never gets to mix up errors

    async def _read(self) -> None:
        """Read until the connection ends; afterwards `_failure` says why, if it was not our `quit`."""
        try:
            with anyio.CancelScope() as self._reading:
                while True:
                    data = await self._stream.receive(READ_BYTES)
                    self._heard = anyio.current_time()
                    await self._take(data)
        except (*_BROKEN, ConnectionLost) as error:
            self._failure = self._failure or self._explain(error)
        finally:
            self._over = True
            self._tell.close()
            self._wake()

    async def _take(self, data: bytes) -> None:
        told = self._protocol.feed(data)
        self._flush()
        self._wake()
        self._telling = True
        for event in told:
            if isinstance(event, Bye):
                self._parted = True
            elif isinstance(event, Lost) and event.code != "name_lost":
                self._failure = ConnectionLost(event.message)
            with suppress(anyio.BrokenResourceError):  # the program has left the block: it wants no more events
                await self._tell.send(event)
        self._telling = False

    def _explain(self, error: Exception) -> PairchatError | None:
        if self._parted:
            return None
        if isinstance(error, ConnectionLost):
            return error
        return ConnectionLost(f"the connection to {self._address} was lost")

    async def _write(self) -> None:
        """Write what gathered, in one piece each time. A connection that breaks is the reader's to report."""
        with suppress(*_BROKEN):
            while True:
                await self._to_write.wait()
                self._to_write = anyio.Event()
                if data := self._protocol.data_to_send():
                    await self._stream.send(data)

    async def _watch(self) -> None:
        """Ping, and give up on a node that says nothing."""
        with suppress(PairchatError):
            while True:
                await self._until(lambda: self.name is not None)
                await anyio.sleep(self._protocol.ping_every)
                if self.name is not None and not self._telling and not self._protocol.waiting_on_partner:
                    await self._probe()

    async def _probe(self) -> None:
        asked = anyio.current_time()
        self._protocol.ping()
        self._flush()
        await anyio.sleep(min(PONG_WAIT, self._protocol.ping_every))
        await anyio.sleep(RECHECK_WAIT)
        if self._heard < asked and not self._telling:
            raise self._fail(ConnectionLost(f"{self._address} does not answer any more"))

    def _fail(self, failure: PairchatError) -> PairchatError:
        self._failure = self._failure or failure
        self._reading.cancel()
        return self._failure

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
        """The program failed or was cancelled, and the tasks are gone: give the name back in passing, if possible."""
        if self.name is None or self._failure:
            return
        self._protocol.quit()
        with anyio.move_on_after(FAREWELL_WAIT, shield=True), suppress(*_BROKEN, ConnectionLost):
            await self._stream.send(self._protocol.data_to_send())
            while self.name is not None:
                self._protocol.feed(await self._stream.receive(READ_BYTES))


@asynccontextmanager
async def connect(server: str = "localhost:9999", *, name: str | None = None) -> AsyncIterator[Chat]:
    """Connect to a node, and take `name` if one is given; else `claim` one.

    `server`: `host`, `host:port` or `[IPv6]:port`. At the end of the block the name is given back: after everything
    that was said has its fate if the block ended well, at once if an exception ended it.
    Raises `BadServer`, `ConnectionFailed`, `Refused`, and at the end `ConnectionLost` if the fate of a text is open.
    """
    address = parse_address(server)
    failure: BaseException | None = None
    async with await dial(address, CONNECT_WAIT) as stream:
        chat = Chat(stream, address)
        try:
            async with anyio.create_task_group() as tasks:
                for task in (chat._read, chat._write, chat._watch):
                    tasks.start_soon(task)
                try:
                    if name is not None:
                        await chat.claim(name)
                    yield chat
                    await chat._finish()
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException as error:
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            chat._told.close()
            await chat._farewell()
    if failure is not None:
        raise failure  # out here, because the task group would wrap it in an ExceptionGroup
