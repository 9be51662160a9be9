"""An async client, for plain asyncio and anyio:

    async with pairchat.connect("localhost:9999", name="alice") as chat:
        await chat.call("bob")
        receipt = await chat.send("hi")
        await receipt.delivered()
        async for event in chat:
            ...

All tasks live inside `async with` and end with it. Every method may be cancelled at any await: its request has then
been sent in full or not at all, and no event is lost. A call that is cancelled is given up.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import anyio

from pairchat.address import parse_address
from pairchat.credentials import Auth
from pairchat.dial import Route
from pairchat.entropy import entropy
from pairchat.errors import ConnectionFailed, ConnectionLost, PairchatError, Refused
from pairchat.events import Event, Invited, Joined, Message, Outgoing, Paired, Presence, Ref
from pairchat.pending_requests import Request
from pairchat.receipt import Receipt
from pairchat.reconnector import CONNECT_WAIT, READ_BYTES, Reconnector
from pairchat.sansio_protocol import ClientProtocol, Trace
from pairchat.session_store import SessionStore
from pairchat.states import State
from pairchat.stream_errors import BROKEN

DEFAULT_SERVER = "localhost:9999"  # the default address of `relay node`
NAME_PAUSE = 0.5  # seconds between two claims of a taken name, within `reconnect_timeout`
# Seconds for which an exit by an exception waits for the outcome of pending texts, and then again for the `quit`.
FAREWELL_WAIT = 1.0
# Number of unread events at which the client stops reading. A default window of 256 texts each way and all their
# outcomes fit, so only a program that never reads its events reaches it.
EVENTS_AHEAD = 1024
# Number of processed texts after which the client acknowledges even if more are waiting. It is a fraction of a default
# window, so that the partner need not stop sending.
ACK_AFTER = 32


def begin_at(servers: int) -> int:
    """Return the index of the first server to try. It is random, so that clients spread over the nodes of a relay."""
    return entropy.source.randrange(servers)


class Chat:
    """A session under a name, with at most one partner at a time. `connect` makes it.

    Iterate over it in one task to receive events. A `Message` counts as processed when the loop asks for the next
    event. It is then acknowledged, in batches, and the sender knows that this program has processed it. A message
    whose loop body raised is not acknowledged.

    While there is no connection (between `Dropped` and `Joined`), every method may still be called. Its request waits
    for the next connection.

    Every method that asks the node raises `NameLost` without a name, and `ConnectionLost` when the connection is gone
    for good.
    """

    def __init__(
        self,
        servers: tuple[str, ...],
        *,
        reconnect_timeout: float | None,
        state: Path | None,
        trace: Trace | None,
        tls: ssl.SSLContext | None,
        ask: bool,
        auth: Auth | None = None,
        proxy: str | None = None,
    ) -> None:
        addresses = [parse_address(server) for server in servers]
        first = begin_at(len(addresses))
        route = Route(addresses[first:] + addresses[:first], tls, proxy)
        self._servers, self._state = servers, state
        self._protocol = ClientProtocol(trace=trace, ask=ask, proof=lambda: self._reconnector.proof)
        self._reconnector = Reconnector(self._protocol, route, self._take, reconnect_timeout, auth)
        self._turn = anyio.Lock()  # serves senders in the order in which they arrived
        self._tell, self._told = anyio.create_memory_object_stream[Event](EVENTS_AHEAD)
        self._happened = 0  # the number of events so far
        self._in_hand: Message | None = None  # given to the program; processed once it asks for the next event
        self._done: Message | None = None  # the last processed message
        self._unacknowledged = 0  # the number of processed messages without an acknowledgement

    @property
    def name(self) -> str | None:
        """The name of this session, as the node confirmed it. None before `claim`, and after the name was lost or given
        back.
        """
        return self._protocol.name

    @property
    def partner(self) -> str | None:
        """The name of the partner, or None without a chat."""
        return self._protocol.partner

    @property
    def chat(self) -> str | None:
        """The id of the present chat, or None. A `Left` or `Message` with another id belongs to an earlier chat."""
        return self._protocol.chat

    @property
    def max_line(self) -> int:
        """The longest line that the node accepts, in bytes. A text counts with its JSON escapes and its frame."""
        return self._protocol.max_line

    @property
    def online(self) -> bool:
        """True while a node serves the session. Otherwise the client is looking for another connection."""
        return self._protocol.state is State.ONLINE

    @property
    def server(self) -> str:
        """The address of the present connection or of the last one, as it was given to `connect`."""
        return self._reconnector.server

    @property
    def tries(self) -> int:
        """The number of attempts to reconnect since the connection was lost. 0 while there is a connection."""
        return self._reconnector.tries

    @property
    def token(self) -> str | None:
        """The secret with which a later connection can resume this session, or None without a session."""
        return self._protocol.token

    @property
    def happened(self) -> int:
        """The number of events so far. A loop that has received fewer does not wait for the next one."""
        return self._happened

    @property
    def pending(self) -> tuple[Outgoing, ...]:
        """The texts without an outcome, oldest first. It stays unknown if the connection is lost for good."""
        return tuple(self._protocol.unacked_messages.pending)

    # --- requests

    async def claim(self, name: str) -> str:
        """Claim a name, or continue the session that a killed program left under it in `state`.

        It returns the name as the node shows it. It raises `Refused` (`name_taken`, `name_invalid` and others; another
        name may be claimed then), and `ConnectionFailed` if no node answers in time.
        """
        await self._reconnector.prove(CONNECT_WAIT)
        with anyio.move_on_after(CONNECT_WAIT):
            outcome = await self._answer(lambda: self._claim(name))
            return outcome.name if isinstance(outcome, Joined) else name
        raise self._reconnector.give_up(ConnectionFailed(f"{self.server} does not answer"))

    def _claim(self, name: str) -> Request:
        self._close_store()
        memory = None
        if self._state is not None:
            try:
                self._reconnector.store = SessionStore(self._state, name, self._servers)
                memory = self._reconnector.store.load()
            except BlockingIOError:
                pass  # another program uses this session and holds the name, so the node will refuse our claim
            except OSError as error:
                self._reconnector.no_store = error
        # A protocol object that already had a session has its own ids and can't take over saved ones.
        if memory is None or self._protocol.node is not None:
            return self._protocol.claim(name)
        return self._protocol.recall(memory)

    async def call(self, name: str, *, ref: Ref | None = None) -> str:
        """Start a chat with `name`, and leave the present one. It returns the name as its owner wrote it.

        It raises `Refused` (`no_such_user`, `busy`, `away`, `declined` and others). In that case nothing has changed.

        A user who answers calls in person (`Ringing`) has 30 seconds to do it, and the present chat goes on meanwhile.
        `cancel_call` gives the call up, and so does a cancellation of this method, for example by `move_on_after`. A
        call that was given up never makes a chat.

        `ref`, here and in the other methods, is a string or an integer that comes back in the events that answer the
        request.
        """
        request = self._ask(lambda: self._protocol.call(name, ref))
        try:
            outcome = await self._outcome(request)
        except anyio.get_cancelled_exc_class():
            self._protocol.cancel(request)
            self._reconnector.flush()
            raise
        return outcome.name if isinstance(outcome, Paired) else name

    def cancel_call(self) -> None:
        """Give up the call that is under way. `call` then raises `Refused` (`declined`), unless it had its answer."""
        self._protocol.cancel()
        self._reconnector.flush()
        self._reconnector.news()

    async def accept(self, call: Invited, *, ref: Ref | None = None) -> str:
        """Accept a call. It returns the caller's name, and raises `Refused` (`not_called`) if the call is over."""
        outcome = await self._answer(lambda: self._protocol.accept(call.chat, ref))
        if isinstance(outcome, Paired):
            return outcome.name
        raise Refused("not_called", f"{call.name} does not call any more", name=call.name)

    def decline(self, call: Invited) -> None:
        """Decline a call. It does nothing if the call is over."""
        self._protocol.decline(call.chat)
        self._reconnector.flush()

    async def block(self, name: str, *, ref: Ref | None = None) -> None:
        """Refuse the calls of a user for the rest of this session. It raises `Refused` (`name_invalid`, `too_many`)."""
        await self._answer(lambda: self._protocol.block(name, ref))

    async def unblock(self, name: str, *, ref: Ref | None = None) -> None:
        """Accept the calls of a blocked user again. It raises `Refused` (`name_invalid`)."""
        await self._answer(lambda: self._protocol.unblock(name, ref))

    def typing(self) -> None:
        """Tell the partner that the user is typing, if it can be told at once. One call every few seconds is enough."""
        self._protocol.typing()
        self._reconnector.flush()

    async def who(self, name: str, *, ref: Ref | None = None) -> str:
        """Ask for the presence of a user. It returns `free`, `busy`, `away` or `offline`, and raises `Refused`.

        A user who calls, or is asked about a call, is `busy` as well.
        """
        outcome = await self._answer(lambda: self._protocol.who(name, ref))
        return outcome.state if isinstance(outcome, Presence) else "offline"

    async def send(self, text: str) -> Receipt:
        """Send a text to the partner. It waits only while the window is full.

        It raises `Refused` with `not_paired` if there is no chat, also if the chat ended during the wait, and with
        `too_long` if the node would not accept the line (`max_line`). It raises ValueError for a text that is empty or
        holds lone surrogates. In all of these cases nothing has been sent.
        """
        chat = self._protocol.chat
        if not self._protocol.room(text):
            self._acknowledge()  # otherwise two programs that answer each other could deadlock
        async with self._turn:
            await self._reconnector.until(lambda: self._protocol.chat != chat or self._protocol.room(text))
            if chat is None or self._protocol.chat != chat:
                raise Refused("not_paired", "nobody is chatting with you")
            entry = self._protocol.send(text)
            self._reconnector.flush()
        return Receipt(self._reconnector, entry)

    async def leave(self, *, ref: Ref | None = None) -> None:
        """End the chat and keep the name. It returns once every earlier text has its outcome. It raises `Refused`."""
        await self._answer(lambda: self._protocol.leave(ref))

    async def paired(self) -> str:
        """Wait until there is a partner, whichever side called, and return the partner's name."""
        await self._reconnector.until(lambda: self._protocol.partner is not None)
        return self._protocol.partner or ""

    async def settled(self) -> None:
        """Wait until every text has its outcome."""
        await self._reconnector.until(lambda: not self._protocol.unacked_messages.pending)

    async def quit(self) -> None:
        """Give the name back. It returns once every earlier text has its outcome and the node has confirmed the end."""
        await self._answer(self._protocol.quit)

    # --- events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event, and acknowledge the messages before it.

        The iteration ends after `Bye`. It raises `ConnectionLost` when no event can follow.
        """
        self._put_down()
        if self._unacknowledged >= ACK_AFTER or not self._told.statistics().current_buffer_used:
            self._acknowledge()
        try:
            event = await self._told.receive()
        except anyio.EndOfStream:
            if self._reconnector.failure:
                raise self._reconnector.failure from None
            raise StopAsyncIteration from None
        if isinstance(event, Message):
            self._in_hand = event
        return event

    def acknowledge(self) -> None:
        """Acknowledge the message that was received last. Only a loop that ends at a message needs this."""
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
            self._reconnector.flush()

    # --- lifetime

    @asynccontextmanager
    async def _served(self, name: str | None) -> AsyncIterator[None]:
        """Hold the connection open for the block, and close it afterwards."""
        failure: BaseException | None = None
        try:
            await self._reconnector.open()
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
            with anyio.CancelScope(shield=True):  # each step has its own time limit
                await self._farewell()
                await self._reconnector.close()
            self._close_store()
        if failure is not None:
            raise failure  # raised here because the task group would wrap it in an ExceptionGroup

    # --- waiting

    async def _answer(self, ask: Callable[[], Request]) -> Event:
        """Send a request and wait for its outcome."""
        return await self._outcome(self._ask(ask))

    def _ask(self, ask: Callable[[], Request]) -> Request:
        self._reconnector.check()
        request = ask()
        self._reconnector.flush()
        return request

    async def _outcome(self, request: Request) -> Event:
        await self._reconnector.until(lambda: request.outcome is not None)
        outcome = request.outcome
        assert outcome is not None
        if isinstance(outcome, PairchatError):
            raise outcome
        return outcome

    async def _run(self) -> None:
        """Serve the session, and close the event stream when it ends."""
        try:
            await self._reconnector.run()
        finally:
            self._tell.close()

    async def _take(self, told: list[Event]) -> None:
        self._happened += len(told)  # counted first: a task that waits for one of them may run before all are delivered
        for event in told:
            with suppress(anyio.BrokenResourceError):  # the program has left the block and reads no more events
                await self._tell.send(event)

    # --- the end

    async def _finish(self) -> None:
        """Give the name back after the block. Raises `ConnectionLost` only if a text has no outcome."""
        self._told.close()
        try:
            if self.name is not None:
                await self.quit()
        except ConnectionLost:
            if self.pending:
                raise

    async def _farewell(self) -> None:
        """Give the name back after the block failed or was cancelled, when no task runs any more.

        This includes a name whose claim is under way and a session that waits for a connection. Pending texts have
        `FAREWELL_WAIT` seconds for their outcome; then the name is given back without waiting for them.
        """
        protocol, link = self._protocol, self._reconnector
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
        """Send the remaining bytes, and read until the node has confirmed the end."""
        link, protocol = self._reconnector, self._protocol
        assert link.stream is not None
        # Sending bytes twice does no harm: the node knows each text by its id, and closes at the first `quit`.
        data, link.unwritten = link.unwritten + protocol.data_to_send(), b""
        while protocol.state is not State.OVER:
            if data:
                await link.stream.send(data)
            protocol.feed(await link.stream.receive(READ_BYTES))
            data = protocol.data_to_send()

    def _close_store(self) -> None:
        """Close the store. Delete the saved session if the name was given back; otherwise it may be resumed later."""
        store, self._reconnector.store = self._reconnector.store, None
        if store is not None:
            if self._protocol.memory is None:
                with suppress(OSError):  # a file that stays is harmless: its session can't be resumed
                    store.forget()
            store.close()


@asynccontextmanager
async def connect(
    *servers: str,
    name: str | None = None,
    reconnect_timeout: float | None = None,
    state: Path | None = None,
    trace: Trace | None = None,
    tls: ssl.SSLContext | None = None,
    ask: bool = False,
    auth: Auth | None = None,
    proxy: str | None = None,
) -> AsyncIterator[Chat]:
    """Connect to a relay, claim `name` if it is given, and yield a `Chat`. Use it with `async with`.

    - `servers`: addresses of nodes of one relay, each `host`, `host:port` or `[IPv6]:port`, or for WebSocket
      `ws://host[:port][/path]` or `wss://…` (ports 80 and 443, path `/ws`). They may be mixed. The default is
      `localhost:9999`. The first one is chosen at random. When a connection is lost, or its node falls silent, the
      client continues the session at the next one.
    - `name`: the name to claim. Without it, the program calls `Chat.claim`.
    - `reconnect_timeout`: seconds for which the client tries to reconnect before it raises `ConnectionLost`. The
      default is the time for which the node keeps the session (its grace). 0 means that it doesn't try, `math.inf` that
      it tries for ever. A server or an `auth` that hangs doesn't prolong it, but a node that was asked to resume the
      session has up to six seconds for its answer. If it is given, the client waits for a taken name for as long as
      well, because a killed program of the same user may still hold it.
    - `state`: a folder for the token and the texts without an outcome. They stay there until the name is given back, so
      that a killed program can resume its session when it is started again. Without it nothing is written to disk.
    - `trace`: a function that is called with each line that is sent (`">"`) and received (`"<"`), see `ClientProtocol`.
    - `tls`: a context for TLS, which also checks the relay's certificate. Without it a connection is not encrypted,
      except one to a `wss://` address, which trusts what the system trusts.
    - `ask`: True if the program answers calls itself. It then receives `Invited` and calls `Chat.accept` or
      `Chat.decline`. By default every call makes a chat at once.
    - `auth`: a function, `async` or not, that returns the signed token which proves the name. It is called for each
      connection. While the client reconnects, a token that the relay refuses and an exception of `auth` are reported as
      `Complaint`, and `auth` is called again for the next attempt: neither ends the session.
    - `proxy`: the URL of an HTTP proxy for the WebSocket addresses (`http://` or `https://`, with `user:password@` if
      it wants them), or `"none"`. By default `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say so. Other
      addresses never use a proxy.

    At the end of the block the name is given back. A block that ended well first waits until every text has its
    outcome. A block that failed or was cancelled takes a few seconds at most.

    It raises `BadServer` for a malformed address, `BadSettings` for a malformed proxy, `ConnectionFailed` if no server
    answers, and `Refused` if the name is refused. At the end of the block it raises `ConnectionLost` if a text has no
    outcome.
    """

    def make() -> Chat:
        return Chat(
            servers or (DEFAULT_SERVER,),
            reconnect_timeout=reconnect_timeout,
            state=state,
            trace=trace,
            tls=tls,
            ask=ask,
            auth=auth,
            proxy=proxy,
        )

    async with AsyncExitStack() as stack:
        yield await _enter(stack, make, name, reconnect_timeout or 0.0)


async def _enter(stack: AsyncExitStack, make: Callable[[], Chat], name: str | None, patience: float) -> Chat:
    """Return a chat that is served until `stack` ends. A taken name is tried again for `patience` seconds."""
    deadline = anyio.current_time() + patience
    while True:
        chat = make()
        try:
            await stack.enter_async_context(chat._served(name))
            return chat
        except Refused as error:
            left = deadline - anyio.current_time()
            if error.code != "name_taken" or left <= 0:
                raise
        await anyio.sleep(min(NAME_PAUSE, left))
