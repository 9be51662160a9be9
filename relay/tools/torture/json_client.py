"""A JSON client that resumes with its token, and resends messages without an outcome. No I/O."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from relay.protocol.errors import Code
from relay.protocol.json_frames import (
    ClientAck,
    ClientFrame,
    ClientLeave,
    ClientMsg,
    ClientPing,
    ClientQuit,
    ClientTo,
    NodeAck,
    NodeBye,
    NodeError,
    NodeLeft,
    NodeMoving,
    NodeMsg,
    NodePaired,
    NodeReplaced,
    NodeUnconfirmed,
    NodeWelcome,
    decode_node,
    encode,
)
from relay.tools.torture.history import End, History, Kind, View
from relay.tools.torture.json_client_session import JsonClientSession, Stand
from relay.tools.torture.user_moves import Move, Moves

# A program with this many messages without an outcome sends no more. This is below a node's default window.
PENDING: Final = 150

# Refusals of a call, a leave or a `who` that are legitimate.
_EXPECTED: Final = frozenset(
    {Code.UNAVAILABLE, Code.BUSY, Code.AWAY, Code.NO_SUCH_USER, Code.NOT_PAIRED, Code.SELF_CHAT}
)

_NOWHERE: Final = -1  # stands for no node

_Answers = Sequence[ClientFrame]


class _Visit:
    """One connection."""

    def __init__(self, node: int, *, rival: bool = False) -> None:
        self.node = node
        self.refused = False  # the client has to disconnect, and try again later
        # The previous connection had no answer: a suspended node may read its `hello` late, and act on it after this
        # one.
        self.rival = rival
        self._heard = 0  # received lines
        self._rest = b""

    @property
    def unanswered(self) -> bool:
        """Whether nothing was received on this connection."""
        return self.node != _NOWHERE and not self._heard

    def lines(self, data: bytes) -> list[bytes]:
        """Return the lines that these bytes complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._heard += len(lines)
        return lines


class JsonClient:
    """One user of the JSON dialect. `feed` handles data from the node, and `act` decides what to do next."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        history: History,
        rng: Random,
        names: Sequence[str] = (),
        *,
        stranger: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.stranger = stranger
        self._history = history
        self._rng = rng
        self._moves = Moves(rng, [other for other in names if other != name])
        self._serial = 0  # the number of messages in all sessions
        self._visit = _Visit(_NOWHERE)
        self._session = JsonClientSession(history)

    @property
    def ready(self) -> bool:
        """Whether this client owns its name and is connected."""
        return self._session.ready

    @property
    def settled(self) -> bool:
        """Whether it is ready and every message has its outcome."""
        return self.ready and not self._session.pending

    @property
    def refused(self) -> bool:
        """Whether the client has to disconnect, and try again later."""
        return self._visit.refused

    @property
    def done(self) -> bool:
        """Whether the node has sent `bye`."""
        return self._session.stand is Stand.OVER

    @property
    def partner(self) -> str:
        """The partner that the client believes to have, or ""."""
        return self._session.partner

    # --- the connection

    def opened(self, node: int) -> bytes:
        """Begin a connection to a node. Returns what to send first."""
        self._visit = _Visit(node, rival=self._visit.unanswered)
        if self.done:
            self._session = JsonClientSession(self._history)  # for the next session
        return encode(self._hello())

    def _hello(self) -> ClientFrame:
        return self._session.hello(self.name, acks=self.kind is Kind.PROGRAM)

    def closed(self, at: float) -> None:
        """Note that the connection is gone. After a `quit`, which the node may have read, the session is given up."""
        self._session.cut(at)
        if self._session.quit_at is not None:
            self._over(End.BROKEN, at)

    def give_up(self, at: float) -> None:
        """End the session for good, without telling the node."""
        self._over(End.BROKEN, at)

    def _over(self, end: End, at: float) -> None:
        self._session.close(end, at)
        self._session = JsonClientSession(self._history)

    def feed(self, data: bytes, at: float) -> bytes:
        """Handle data from the node. Returns what to answer."""
        answers: list[ClientFrame] = []
        for line in self._visit.lines(data):
            frame = decode_node(line)
            handle = _ON.get(type(frame))
            if handle is not None:
                answers += handle(self, frame, at)
        if self._rng.random() < 0.8:  # otherwise acknowledge with the next move, so that there are batches too
            answers += self._acknowledge()
        return b"".join(map(encode, answers))

    def _acknowledge(self) -> _Answers:
        upto = self._session.acknowledge()
        return [ClientAck(upto, self._session.chat)] if upto and self.kind is Kind.PROGRAM else []

    # --- its actions

    def act(self, at: float) -> tuple[bytes, Move]:
        """Draw the next move. Returns it with the bytes to send."""
        frames = [*self._acknowledge()]
        memory = self._session
        sane = memory.stand is Stand.READY and memory.quit_at is None and len(memory.pending) < PENDING
        move = self._moves.next(memory.partner, sane=sane)
        match move:
            case Move.SAY if memory.partner:
                frames += [self._say(at) for _ in range(self._rng.randint(1, 6))]
            case Move.CALL:
                frames.append(self._call(self._moves.someone()))
            case Move.LEAVE if memory.partner:
                memory.ask("")
                frames.append(ClientLeave())
            case Move.QUIT:
                memory.quit_at = at
                frames.append(ClientQuit())
        return b"".join(map(encode, frames)), move

    def nudge(self) -> bytes:
        """Return acknowledgements and a ping, which makes the node show that it is alive."""
        return b"".join(map(encode, [*self._acknowledge(), ClientPing()]))

    def quit(self, at: float) -> bytes:
        """Return the frame that releases the name."""
        self._session.quit_at = at
        return encode(ClientQuit())

    def call(self, name: str) -> bytes:
        """Return the frame that calls a user."""
        return encode(self._call(name))

    def _call(self, name: str) -> ClientTo:
        self._session.ask(name)
        return ClientTo(name)

    def say(self, at: float) -> bytes:
        """Return a message to the partner."""
        return encode(self._say(at))

    def _say(self, at: float) -> ClientMsg:
        assert self._session.session is not None
        self._serial += 1
        key = f"{self.name}/{self._session.session.serial}/{self._serial}"
        return self._session.say(key, f"{key} {'x' * self._rng.choice((0, 0, 0, 40, 400))}", at)

    def view(self) -> View | None:
        """Return the chat that the client believes to be in, or None without a session."""
        return self._session.view()

    # --- what the node says

    def _welcome(self, frame: NodeWelcome, at: float) -> _Answers:
        node = self._visit.node
        if self._session.session is None:
            if frame.resumed:
                self._odd("resumed a session that isn't ours")
            session = self._history.begin(self.name, self.kind, at, node, stranger=self.stranger)
            self._session.begin(session, frame.token)
            return []
        other = frame.token != self._session.token
        if not frame.resumed or other:
            self._odd(f"welcomed back with resumed {frame.resumed} and another token: {other}")
        return self._session.reconnected(node, at)

    def _paired(self, frame: NodePaired, at: float) -> _Answers:
        return self._session.paired(frame, at)

    def _msg(self, frame: NodeMsg, at: float) -> _Answers:
        chat, partner, last = self._session.chat, self._session.partner, self._session.last
        if frame.chat != chat or frame.sender != partner:
            self._odd(f"a message of {frame.sender} in chat {frame.chat}, while in {chat} with {partner}")
        if frame.id <= last:
            self._odd(f"id {frame.id} of {frame.sender} after {last}")
        self._session.hear(frame, at)
        return []

    def _ack(self, frame: NodeAck, at: float) -> _Answers:
        self._session.acked(frame.id, frame.chat)
        return []

    def _unconfirmed(self, frame: NodeUnconfirmed, at: float) -> _Answers:
        self._session.unconfirmed(frame)
        return []

    def _left(self, frame: NodeLeft, at: float) -> _Answers:
        return self._session.left(frame, at)

    def _error(self, frame: NodeError, at: float) -> _Answers:
        ready = self.ready
        match frame.code:
            case _ if self.refused:
                pass  # errors about frames in flight when the name was lost
            case Code.BAD_TOKEN if not ready:
                self._over(End.FORGOTTEN, at)
                return [self._hello()]
            case Code.NAME_TAKEN | Code.UNAVAILABLE if not ready:
                self._visit.refused = True
            case Code.NAME_LOST:
                self._over(End.NAME_LOST, at)
                self._visit.refused = True
            case Code.WINDOW_FULL | Code.BAD_ORDER if ready and frame.id is not None:
                self._not_taken(frame, frame.id)
            case code if ready and code in _EXPECTED:
                self._session.refused(frame.name or "")
            case _:
                self._odd(f"error {frame.code}, ready {ready}: {frame.message}")
        return []

    def _not_taken(self, frame: NodeError, id: int) -> None:
        """Forget this message, which a full window refused, and all after it, which were out of order."""
        if frame.code == Code.BAD_ORDER and id in self._session.pending:
            self._odd(f"bad_order for id {id}, expected {frame.expected}")
        self._session.not_taken(id)

    def _replaced(self, frame: NodeReplaced, at: float) -> _Answers:
        if not self._visit.rival:
            self._odd("replaced, though nobody else has the token")
        return []

    def _moving(self, frame: NodeMoving, at: float) -> _Answers:
        """Leave a node that is shutting down at once, or stay until its end."""
        self._visit.refused = self._rng.random() < 0.5
        return []

    def _bye(self, frame: NodeBye, at: float) -> _Answers:
        if self._session.pending:
            self._odd(f"good-bye before the outcome of {len(self._session.pending)} messages")
        self._over(End.QUIT, at)
        self._session.stand = Stand.OVER
        return []

    def _odd(self, what: str) -> None:
        self._history.oddities.append(f"{self.name}: {what}")


# The other frames (away, back, pong) change nothing here.
_ON: Final[dict[type, Callable[[JsonClient, Any, float], _Answers]]] = {
    NodeWelcome: JsonClient._welcome,
    NodePaired: JsonClient._paired,
    NodeMsg: JsonClient._msg,
    NodeAck: JsonClient._ack,
    NodeUnconfirmed: JsonClient._unconfirmed,
    NodeLeft: JsonClient._left,
    NodeError: JsonClient._error,
    NodeMoving: JsonClient._moving,
    NodeReplaced: JsonClient._replaced,
    NodeBye: JsonClient._bye,
}
