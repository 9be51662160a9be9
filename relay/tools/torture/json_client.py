"""A JSON client that keeps its own copies, comes back by its token, and says again what has no outcome. No I/O."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from relay.protocol.errors import Code
from relay.protocol.frames import (
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
from relay.tools.torture.moves import Move, Moves
from relay.tools.torture.saved_session import Memory, Stand

# Messages without outcome above which a program says nothing more: below a node's window, unless that was set.
PENDING: Final = 150

# Refusals of a call, a leave or a `who` that say how things are, and are nobody's fault.
_EXPECTED: Final = frozenset(
    {Code.UNAVAILABLE, Code.BUSY, Code.AWAY, Code.NO_SUCH_USER, Code.NOT_PAIRED, Code.SELF_CHAT}
)

_NOWHERE: Final = -1  # no node

_Answers = Sequence[ClientFrame]


class _Visit:
    """One connection."""

    def __init__(self, node: int, *, rival: bool = False) -> None:
        self.node = node
        self.refused = False  # not now: hang up, and try again later
        # The one before had no answer: a node that slept may find its `hello` late, and act on it after this one.
        self.rival = rival
        self._heard = 0  # lines
        self._rest = b""

    @property
    def unanswered(self) -> bool:
        """Nothing was heard on it."""
        return self.node != _NOWHERE and not self._heard

    def lines(self, data: bytes) -> list[bytes]:
        """Bytes came: the lines that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._heard += len(lines)
        return lines


class Program:
    """One user of the JSON dialect. `feed` takes what the node says, `act` decides what to do next."""

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
        self._serial = 0  # messages of all sessions
        self._visit = _Visit(_NOWHERE)
        self._memory = Memory(history)

    @property
    def ready(self) -> bool:
        """The name is ours and the connection stands."""
        return self._memory.ready

    @property
    def settled(self) -> bool:
        """Ready, and every message has its outcome."""
        return self.ready and not self._memory.pending

    @property
    def refused(self) -> bool:
        """Not now: hang up, and try again later."""
        return self._visit.refused

    @property
    def done(self) -> bool:
        """The node said good-bye."""
        return self._memory.stand is Stand.OVER

    @property
    def partner(self) -> str:
        """Whom it believes to be in a chat with; empty: nobody."""
        return self._memory.partner

    # --- the connection

    def opened(self, node: int) -> bytes:
        """A connection to a node stands: what to say first."""
        self._visit = _Visit(node, rival=self._visit.unanswered)
        if self.done:
            self._memory = Memory(self._history)  # of a session to come
        return encode(self._hello())

    def _hello(self) -> ClientFrame:
        return self._memory.hello(self.name, acks=self.kind is Kind.PROGRAM)

    def closed(self, at: float) -> None:
        """The connection is gone. Behind a `quit` that may have been heard the session is given up."""
        self._memory.cut(at)
        if self._memory.quit_at is not None:
            self._over(End.BROKEN, at)

    def give_up(self, at: float) -> None:
        """The client goes away for good, without a word if need be."""
        self._over(End.BROKEN, at)

    def _over(self, end: End, at: float) -> None:
        self._memory.close(end, at)
        self._memory = Memory(self._history)

    def feed(self, data: bytes, at: float) -> bytes:
        """Bytes came: what to answer."""
        answers: list[ClientFrame] = []
        for line in self._visit.lines(data):
            frame = decode_node(line)
            handle = _ON.get(type(frame))
            if handle is not None:
                answers += handle(self, frame, at)
        if self._rng.random() < 0.8:  # else with the next move: acknowledgements come in batches too
            answers += self._acknowledge()
        return b"".join(map(encode, answers))

    def _acknowledge(self) -> _Answers:
        upto = self._memory.acknowledge()
        return [ClientAck(upto, self._memory.chat)] if upto and self.kind is Kind.PROGRAM else []

    # --- what it does

    def act(self, at: float) -> tuple[bytes, Move]:
        """The next thing to do."""
        frames = [*self._acknowledge()]
        memory = self._memory
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
        """Nothing new to say: acknowledge, and have the node show that it is there."""
        return b"".join(map(encode, [*self._acknowledge(), ClientPing()]))

    def quit(self, at: float) -> bytes:
        """Give the name back."""
        self._memory.quit_at = at
        return encode(ClientQuit())

    def call(self, name: str) -> bytes:
        """Call somebody."""
        return encode(self._call(name))

    def _call(self, name: str) -> ClientTo:
        self._memory.ask(name)
        return ClientTo(name)

    def say(self, at: float) -> bytes:
        """One message to the partner."""
        return encode(self._say(at))

    def _say(self, at: float) -> ClientMsg:
        assert self._memory.session is not None
        self._serial += 1
        key = f"{self.name}/{self._memory.session.serial}/{self._serial}"
        return self._memory.say(key, f"{key} {'x' * self._rng.choice((0, 0, 0, 40, 400))}", at)

    def view(self) -> View | None:
        """What it believes of its chat, while it has a session."""
        return self._memory.view()

    # --- what the node says

    def _welcome(self, frame: NodeWelcome, at: float) -> _Answers:
        node = self._visit.node
        if self._memory.session is None:
            if frame.resumed:
                self._odd("resumed a session that isn't ours")
            session = self._history.begin(self.name, self.kind, at, node, stranger=self.stranger)
            self._memory.begin(session, frame.token)
            return []
        other = frame.token != self._memory.token
        if not frame.resumed or other:
            self._odd(f"welcomed back with resumed {frame.resumed} and another token: {other}")
        return self._memory.reconnected(node, at)

    def _paired(self, frame: NodePaired, at: float) -> _Answers:
        return self._memory.paired(frame, at)

    def _msg(self, frame: NodeMsg, at: float) -> _Answers:
        chat, partner, last = self._memory.chat, self._memory.partner, self._memory.last
        if frame.chat != chat or frame.sender != partner:
            self._odd(f"a message of {frame.sender} in chat {frame.chat}, while in {chat} with {partner}")
        if frame.id <= last:
            self._odd(f"id {frame.id} of {frame.sender} after {last}")
        self._memory.hear(frame, at)
        return []

    def _ack(self, frame: NodeAck, at: float) -> _Answers:
        self._memory.acked(frame.id, frame.chat)
        return []

    def _unconfirmed(self, frame: NodeUnconfirmed, at: float) -> _Answers:
        self._memory.unconfirmed(frame)
        return []

    def _left(self, frame: NodeLeft, at: float) -> _Answers:
        return self._memory.left(frame, at)

    def _error(self, frame: NodeError, at: float) -> _Answers:
        ready = self.ready
        match frame.code:
            case _ if self.refused:
                pass  # about what was on its way when the name was lost
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
                self._memory.refused(frame.name or "")
            case _:
                self._odd(f"error {frame.code}, ready {ready}: {frame.message}")
        return []

    def _not_taken(self, frame: NodeError, id: int) -> None:
        """A full window refused this one, and what was said behind it came out of order: none of them was taken."""
        if frame.code == Code.BAD_ORDER and id in self._memory.pending:
            self._odd(f"bad_order for id {id}, expected {frame.expected}")
        self._memory.not_taken(id)

    def _replaced(self, frame: NodeReplaced, at: float) -> _Answers:
        if not self._visit.rival:
            self._odd("replaced, though nobody else has the token")
        return []

    def _moving(self, frame: NodeMoving, at: float) -> _Answers:
        """The node will go away: leave it at once, or stay until it does."""
        self._visit.refused = self._rng.random() < 0.5
        return []

    def _bye(self, frame: NodeBye, at: float) -> _Answers:
        if self._memory.pending:
            self._odd(f"good-bye before the outcome of {len(self._memory.pending)} messages")
        self._over(End.QUIT, at)
        self._memory.stand = Stand.OVER
        return []

    def _odd(self, what: str) -> None:
        self._history.oddities.append(f"{self.name}: {what}")


# The others (away, back, pong) change nothing here.
_ON: Final[dict[type, Callable[[Program, Any, float], _Answers]]] = {
    NodeWelcome: Program._welcome,
    NodePaired: Program._paired,
    NodeMsg: Program._msg,
    NodeAck: Program._ack,
    NodeUnconfirmed: Program._unconfirmed,
    NodeLeft: Program._left,
    NodeError: Program._error,
    NodeMoving: Program._moving,
    NodeReplaced: Program._replaced,
    NodeBye: Program._bye,
}
