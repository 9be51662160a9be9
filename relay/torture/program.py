"""A JSON client that keeps its own copies, comes back by its token, and says again what has no outcome. No I/O."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from relay.errors import Code
from relay.frames import (
    ClientAck,
    ClientFrame,
    ClientHello,
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
from relay.torture.history import End, Heard, History, Kind, Parted, Said, Session, View, close, cut, reconnect
from relay.torture.moves import Move, Moves

# Messages without outcome above which a program says nothing more: below a node's window, unless that was set.
PENDING: Final = 150

# Refusals of a call, a leave or a `who` that say how things are, and are nobody's fault.
_EXPECTED: Final = frozenset(
    {Code.UNAVAILABLE, Code.BUSY, Code.AWAY, Code.NO_SUCH_USER, Code.NOT_PAIRED, Code.SELF_CHAT}
)

_Answers = Sequence[ClientFrame]


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
        self.done = False  # the node said good-bye
        self.refused = False  # not now: hang up, and try again later
        self._history = history
        self._rng = rng
        self.stranger = stranger
        self._moves = Moves(rng, [other for other in names if other != name])
        self._serial = 0  # messages of all sessions
        self._node = -1
        self._buffer = b""
        self._waiting = False  # a call or a leave has no outcome yet
        self._quit_at: float | None = None
        self._unanswered = False  # nothing was heard on this connection yet
        # The last connection had no answer: a node that slept may find its `hello` late, and act on it after this one.
        self._rival = False
        self._forget()

    def _forget(self) -> None:
        self.session: Session | None = None
        self._token: str | None = None
        self.chat = self.partner = ""
        self._left_chat = ""  # the last one that we were told is over
        self._paired_at = 0.0
        # The partners asked for, empty for none, that had no answer yet; they may be carried out unheard.
        self._asked: list[str] = []
        self._sent = self._last = 0
        self._unacked = 0  # the highest id heard and not acknowledged yet
        self._pending: dict[int, tuple[Said, str]] = {}  # with the text to say again
        self._fated: dict[int, Said] = {}
        self._returning = False  # resuming: what became of the chat isn't known yet

    @property
    def ready(self) -> bool:
        """The name is ours and the connection stands."""
        return self.session is not None and not self._returning

    @property
    def settled(self) -> bool:
        """Ready, and every message has its outcome."""
        return self.ready and not self._pending

    # --- the connection

    def opened(self, node: int) -> bytes:
        """A connection to a node stands: what to say first."""
        self._node, self._buffer, self._waiting, self.done, self.refused = node, b"", False, False, False
        self._rival, self._unanswered = self._unanswered, True
        self._returning = self.session is not None
        if not self._returning:
            return encode(ClientHello(name=self.name, acks=self.kind is Kind.PROGRAM))
        return encode(
            ClientHello(
                name=self.name,
                acks=self.kind is Kind.PROGRAM,
                token=self._token,
                chat=self.chat or None,
                sent=self._sent,
                last=self._last if self.chat else 0,
                left=self._left_chat or None,
            )
        )

    def closed(self, at: float) -> None:
        """The connection is gone. Behind a `quit` that may have been heard the session is given up."""
        self._returning = True
        if self.session is not None:
            cut(self.session, at)
        if self._quit_at is not None:
            self._over(End.BROKEN, at)

    def give_up(self, at: float) -> None:
        """The client goes away for good, without a word if need be."""
        self._over(End.BROKEN, at)

    def feed(self, data: bytes, at: float) -> bytes:
        """Bytes came: what to answer."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        answers: list[ClientFrame] = []
        self._unanswered = self._unanswered and not lines
        for line in lines:
            frame = decode_node(line)
            handle = _ON.get(type(frame))
            if handle is not None:
                answers += handle(self, frame, at)
        if self._rng.random() < 0.8:  # else with the next move: acknowledgements come in batches too
            answers += self._acknowledge()
        return b"".join(map(encode, answers))

    def _acknowledge(self) -> _Answers:
        upto, self._unacked = self._unacked, 0
        return [ClientAck(upto, self.chat)] if upto and self.kind is Kind.PROGRAM else []

    # --- what it does

    def act(self, at: float) -> tuple[bytes, Move]:
        """The next thing to do."""
        frames = [*self._acknowledge()]
        sane = len(self._pending) < PENDING and not self._waiting and self._quit_at is None
        move = self._moves.next(self.partner, sane=sane)
        match move:
            case Move.SAY if self.partner:
                frames += [self._say(at) for _ in range(self._rng.randint(1, 6))]
            case Move.CALL:
                frames.append(self._call(self._moves.someone()))
            case Move.LEAVE if self.partner:
                self._waiting = True
                self._asked.append("")
                frames.append(ClientLeave())
            case Move.QUIT:
                self._quit_at = at
                frames.append(ClientQuit())
        return b"".join(map(encode, frames)), move

    def nudge(self) -> bytes:
        """Nothing new to say: acknowledge, and have the node show that it is there."""
        return b"".join(map(encode, [*self._acknowledge(), ClientPing()]))

    def quit(self, at: float) -> bytes:
        """Give the name back."""
        self._quit_at = at
        return encode(ClientQuit())

    def call(self, name: str) -> bytes:
        """Call somebody."""
        return encode(self._call(name))

    def _call(self, name: str) -> ClientTo:
        self._waiting = True
        self._asked.append(name)
        return ClientTo(name)

    def _answered(self, name: str) -> None:
        """Requests are answered in order. That the end of a chat answers a `leave` can't be told."""
        if name in self._asked:
            del self._asked[: self._asked.index(name) + 1]

    def say(self, at: float) -> bytes:
        """One message to the partner."""
        return encode(self._say(at))

    def _say(self, at: float) -> ClientMsg:
        assert self.session is not None
        self._serial += 1
        self._sent += 1
        key = f"{self.name}/{self.session.serial}/{self._serial}"
        text = f"{key} {'x' * self._rng.choice((0, 0, 0, 40, 400))}"
        said = Said(key, self.session.serial, self.partner, self.chat, at, self._sent)
        self._history.said[key] = said
        self._pending[self._sent] = said, text
        return ClientMsg(self._sent, text, self.chat)

    def view(self) -> View | None:
        """Whom it believes to be in a chat with."""
        if self.session is None:
            return None
        return View(self.session.serial, self.name, self.kind, self.partner, self.chat)

    # --- what the node says

    def _welcome(self, frame: NodeWelcome, at: float) -> _Answers:
        if self.session is None:
            if frame.resumed:
                self._odd("resumed a session that isn't ours")
            begin = self._history.begin
            self.session = begin(self.name, self.kind, at, self._node, stranger=self.stranger)
            self._token, self._returning = frame.token, False
            return []
        if not frame.resumed or frame.token != self._token:
            self._odd(f"welcomed back with resumed {frame.resumed} and another token: {frame.token != self._token}")
        reconnect(self.session, self._node, at)
        return [] if self.chat else self._catch_up()

    def _paired(self, frame: NodePaired, at: float) -> _Answers:
        assert self.session is not None
        self._waiting = False
        if frame.chat != self.chat:
            self._left_chat = self.chat or self._left_chat
            self.chat, self.partner, self._last, self._unacked = frame.chat, frame.name, 0, 0
            self._paired_at = at
            self._answered(frame.name)
        self._history.paired(self.session, frame.name, at, frame.chat)
        last = frame.last or 0
        self._outcome(lambda said: said.id <= last and said.chat == frame.chat, "acked")
        return self._catch_up()

    def _catch_up(self) -> _Answers:
        """Back on a new connection: say again what has no outcome."""
        if not self._returning:
            return []
        self._returning = False
        return [ClientMsg(id, text, said.chat) for id, (said, text) in self._pending.items()]

    def _msg(self, frame: NodeMsg, at: float) -> _Answers:
        assert self.session is not None
        if frame.chat != self.chat or frame.sender != self.partner:
            self._odd(f"a message of {frame.sender} in chat {frame.chat}, while in {self.chat} with {self.partner}")
        if frame.id <= self._last:
            self._odd(f"id {frame.id} of {frame.sender} after {self._last}")
        self._last = self._unacked = max(self._last, frame.id)
        key = frame.text.split(" ")[0]
        self._history.heard.append(Heard(key, self.session.serial, frame.chat, frame.sender, at, frame.id))
        return []

    def _ack(self, frame: NodeAck, at: float) -> _Answers:
        self._outcome(lambda said: said.id <= frame.id and said.chat == frame.chat, "acked")
        return []

    def _unconfirmed(self, frame: NodeUnconfirmed, at: float) -> _Answers:
        self._outcome(lambda said: frame.first <= said.id <= frame.last, frame.reason)
        for id in range(frame.first, frame.last + 1):
            said = self._fated.get(id)
            if said is not None and said.fates[-1] == "acked":
                said.fates.append(frame.reason)
        return []

    def _outcome(self, which: Callable[[Said], bool], fate: str) -> None:
        """These have their outcome."""
        for said in [said for said, _ in self._pending.values() if which(said)]:
            del self._pending[said.id]
            self._fated[said.id] = said
            said.fates.append(fate)

    def _left(self, frame: NodeLeft, at: float) -> _Answers:
        assert self.session is not None
        self._waiting = False
        asked = bool(self._asked)
        self._history.parted.append(
            Parted(self.session.serial, self.partner, self.chat, frame.reason, self._paired_at, at, asked)
        )
        self._left_chat = self.chat or self._left_chat
        self.chat = self.partner = ""
        self._last = self._unacked = 0
        return self._catch_up()

    def _error(self, frame: NodeError, at: float) -> _Answers:
        ready = self.ready
        match frame.code:
            case _ if self.refused:
                pass  # about what was on its way when the name was lost
            case Code.BAD_TOKEN if not ready:
                self._over(End.FORGOTTEN, at)
                return [ClientHello(name=self.name, acks=self.kind is Kind.PROGRAM)]
            case Code.NAME_TAKEN | Code.UNAVAILABLE if not ready:
                self.refused = True
            case Code.NAME_LOST:
                self._over(End.NAME_LOST, at)
                self.refused = True
            case Code.WINDOW_FULL | Code.BAD_ORDER if ready and frame.id is not None:
                self._not_taken(frame)
            case code if ready and code in _EXPECTED:
                self._waiting = False
                self._answered(frame.name or "")
            case _:
                self._odd(f"error {frame.code}, ready {ready}: {frame.message}")
        return []

    def _not_taken(self, frame: NodeError) -> None:
        """A full window refused this one, and what was said behind it came out of order: none of them was taken."""
        id = frame.id or 0
        if frame.code == Code.BAD_ORDER and id in self._pending:
            self._odd(f"bad_order for id {id}, expected {frame.expected}")
        for late in [n for n in self._pending if n >= id]:
            said, _ = self._pending.pop(late)
            del self._history.said[said.key]
        self._sent = min(self._sent, id - 1)

    def _over(self, end: End, at: float) -> None:
        if self.session is not None:
            close(self.session, end, at if self._quit_at is None else self._quit_at)
        self._quit_at = None
        self._forget()

    def _replaced(self, frame: NodeReplaced, at: float) -> _Answers:
        if not self._rival:
            self._odd("replaced, though nobody else has the token")
        return []

    def _moving(self, frame: NodeMoving, at: float) -> _Answers:
        """The node will go away: leave it at once, or stay until it does."""
        self.refused = self._rng.random() < 0.5
        return []

    def _bye(self, frame: NodeBye, at: float) -> _Answers:
        if self._pending:
            self._odd(f"good-bye before the outcome of {len(self._pending)} messages")
        self._over(End.QUIT, at)
        self.done = True
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
