"""The state of a session that a JSON client of `relay torture` keeps over all its connections. No I/O."""

from collections.abc import Callable
from enum import Enum, auto

from relay.protocol.json_frames import ClientHello, ClientMsg, NodeLeft, NodeMsg, NodePaired, NodeUnconfirmed
from relay.tools.torture.history import End, Heard, History, Parted, Said, Session, View, close, cut, reconnect


class Stand(Enum):
    """The state of the session."""

    NONE = auto()  # the client hasn't been welcomed yet
    READY = auto()
    WAITING = auto()  # ready, but a call or a leave has no outcome yet
    AWAY = auto()  # disconnected, or reconnected without knowing yet whether the chat goes on
    OVER = auto()  # the node has sent `bye`


class JsonClientSession:
    """One session: its chat, messages and requests. It records each event in the history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.stand = Stand.NONE
        self.session: Session | None = None
        self.token: str | None = None
        self.chat = self.partner = ""
        self._left_chat = ""  # the last chat that the client was told is over
        self._paired_at = 0.0
        # The requests without an answer: the called partner, or "" for a leave. The node may have carried them out.
        self._asked: list[str] = []
        self._sent = 0
        self.last = 0  # the highest id received in this chat
        self._unacked = 0  # the same id until it is acknowledged, then 0
        self.pending: dict[int, tuple[Said, str]] = {}  # messages without an outcome, with the text to resend
        self._fated: dict[int, Said] = {}
        self.quit_at: float | None = None

    @property
    def ready(self) -> bool:
        """Whether this client owns its name and is connected."""
        return self.stand in (Stand.READY, Stand.WAITING)

    # --- the session and its connections

    def hello(self, name: str, *, acks: bool) -> ClientHello:
        """Return the first frame of a connection, which begins or resumes the session."""
        if self.session is None:
            return ClientHello(name=name, acks=acks)
        return ClientHello(
            name=name,
            acks=acks,
            token=self.token,
            chat=self.chat or None,
            sent=self._sent,
            last=self.last if self.chat else 0,
            left=self._left_chat or None,
        )

    def begin(self, session: Session, token: str) -> None:
        """Note that the node has welcomed a new session."""
        self.session, self.token, self.stand = session, token, Stand.READY

    def reconnected(self, node: int, at: float) -> list[ClientMsg]:
        """Note that the session is resumed. Returns what to resend, which in a chat is known only later."""
        reconnect(self._own, node, at)
        return [] if self.chat else self._catch_up()

    def cut(self, at: float) -> None:
        """Note that the connection is gone."""
        if self.session is not None:
            cut(self.session, at)
            self.stand = Stand.AWAY

    def close(self, end: End, at: float) -> None:
        """Note that the session is over, since the time of the `quit` if there was one."""
        if self.session is not None:
            close(self.session, end, at if self.quit_at is None else self.quit_at)

    def view(self) -> View | None:
        """Return the partner and the chat that the client believes to have."""
        session = self.session
        return None if session is None else View(session.serial, session.name, session.kind, self.partner, self.chat)

    @property
    def _own(self) -> Session:
        assert self.session is not None
        return self.session

    # --- chats

    def ask(self, name: str) -> None:
        """Note that a call, or a leave (with an empty name), is in flight."""
        self.stand = Stand.WAITING
        self._asked.append(name)

    def refused(self, name: str) -> None:
        """Note that a request was refused."""
        self.stand = Stand.READY
        self._answered(name)

    def _answered(self, name: str) -> None:
        """Forget the answered request and those before it, because requests are answered in order.

        A `leave` isn't forgotten, because the end of a chat need not be its answer.
        """
        if name in self._asked:
            del self._asked[: self._asked.index(name) + 1]

    def paired(self, frame: NodePaired, at: float) -> list[ClientMsg]:
        """Note that a chat begins or, after a resume, goes on. Returns what to resend."""
        if frame.chat != self.chat:
            self._left_chat = self.chat or self._left_chat
            self.chat, self.partner, self.last, self._unacked = frame.chat, frame.name, 0, 0
            self._paired_at = at
            self._answered(frame.name)
        self._history.paired(self._own, frame.name, at, frame.chat)
        self.acked(frame.last or 0, frame.chat)
        return self._catch_up()

    def left(self, frame: NodeLeft, at: float) -> list[ClientMsg]:
        """Note that the chat is over. Returns what to resend to get its outcome."""
        asked = bool(self._asked)
        self._history.parted.append(
            Parted(self._own.serial, self.partner, self.chat, frame.reason, self._paired_at, at, asked)
        )
        self._left_chat = self.chat or self._left_chat
        self.chat = self.partner = ""
        self.last = self._unacked = 0
        return self._catch_up()

    def _catch_up(self) -> list[ClientMsg]:
        """Note that the client knows whether its chat goes on. Returns what to resend after a reconnect."""
        back, self.stand = self.stand is Stand.AWAY, Stand.READY
        return [ClientMsg(id, text, said.chat) for id, (said, text) in self.pending.items()] if back else []

    # --- messages

    def say(self, key: str, text: str, at: float) -> ClientMsg:
        """Return a new message to the partner."""
        self._sent += 1
        said = Said(key, self._own.serial, self.partner, self.chat, at, self._sent)
        self._history.said[key] = said
        self.pending[self._sent] = said, text
        return ClientMsg(self._sent, text, self.chat)

    def hear(self, frame: NodeMsg, at: float) -> None:
        """Record a received message."""
        self.last = self._unacked = max(self.last, frame.id)
        key = frame.text.split(" ")[0]
        self._history.heard.append(Heard(key, self._own.serial, frame.chat, frame.sender, at, frame.id))

    def acknowledge(self) -> int:
        """Return the highest id that isn't acknowledged yet, or 0. It counts as acknowledged from now on."""
        upto, self._unacked = self._unacked, 0
        return upto

    def acked(self, upto: int, chat: str) -> None:
        """Record the acknowledgement of these messages."""
        self._outcome(lambda said: said.id <= upto and said.chat == chat, "acked")

    def unconfirmed(self, frame: NodeUnconfirmed) -> None:
        """Record that these messages may not have arrived, even if they were acknowledged before."""
        self._outcome(lambda said: frame.first <= said.id <= frame.last, frame.reason)
        for id in range(frame.first, frame.last + 1):
            said = self._fated.get(id)
            if said is not None and said.outcomes[-1] == "acked":
                said.outcomes.append(frame.reason)

    def _outcome(self, which: Callable[[Said], bool], fate: str) -> None:
        for said in [said for said, _ in self.pending.values() if which(said)]:
            del self.pending[said.id]
            self._fated[said.id] = said
            said.outcomes.append(fate)

    def not_taken(self, id: int) -> None:
        """Forget this message and those after it, which the node refused."""
        for late in [n for n in self.pending if n >= id]:
            said, _ = self.pending.pop(late)
            del self._history.said[said.key]
        self._sent = min(self._sent, id - 1)
