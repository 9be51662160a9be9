"""Made-up histories: ann and bob talk without any fault, until a test adds one."""

from relay.tools.torture import checker
from relay.tools.torture.history import OPEN, Arrival, Fault, Heard, History, Kind, Parted, Said, Session, Span, View

LEASE, GRACE = 2.0, 8.0  # seconds, as in `relay torture`
CHAT = "chat-1"


class Tale:
    """Begins with two programs that have exchanged enough messages. Additions happen at second 10 by default."""

    def __init__(self, chatter: int = checker.LEAST_DELIVERED) -> None:
        self.history = History()
        self._numbers = 0
        self.ann = self.owner("ann", at=0.0)
        self.bob = self.owner("bob", at=0.0, node=1)
        self.pair(self.ann, self.bob)
        for _ in range(chatter):
            self.hears(self.bob, self.says(self.ann, "bob", "acked", at=1.0), at=1.0)

    def owner(
        self, name: str, kind: Kind = Kind.PROGRAM, *, at: float = 10.0, node: int = 0, stranger: bool = False
    ) -> Session:
        """Give a name to a user."""
        return self.history.begin(name, kind, at, node, stranger=stranger)

    def pair(self, one: Session, other: Session) -> None:
        """Tell each of the two of the other."""
        self.history.paired(one, other.name, 0.0, CHAT)
        self.history.paired(other, one.name, 0.0, CHAT)

    def says(self, by: Session, to: str, *outcomes: str, chat: str = CHAT, at: float = 10.0) -> Said:
        """Add a message and its outcome for the sender."""
        self._numbers += 1
        key = f"{by.name}/{by.serial}/{self._numbers}"
        chat = "" if by.kind is Kind.PERSON else chat
        self.history.said[key] = Said(key, by.serial, to, chat, at, self._numbers, list(outcomes))
        return self.history.said[key]

    def hears(self, by: Session, said: Said, *, chat: str = CHAT, sender: str = "", at: float = 10.0) -> None:
        """Add the arrival of a message."""
        sender = sender or self.history.sessions[said.session].name
        chat = "" if by.kind is Kind.PERSON else chat
        self.history.heard.append(Heard(said.key, by.serial, chat, sender, at, said.id))

    def parts(
        self, by: Session, partner: str, reason: str, *, since: float = 0.0, at: float = 10.0, asked: bool = False
    ) -> None:
        """Tell a user that the chat is over. `asked` says that the user wanted it."""
        self.history.parted.append(Parted(by.serial, partner, CHAT, reason, since, at, asked))

    def breaks(self, kind: str, began: float, ended: float, *, node: int = -1) -> None:
        """Add a fault of the nemesis."""
        self.history.faults.append(Fault(kind, Span(began, ended), node))

    def comes(self, *, answered: float = OPEN, left: float = OPEN, ended: float = 30.0) -> None:
        """Add a new user at node 0."""
        self.history.arrivals.append(Arrival("new1", 0, 10.0, answered, left, ended))

    def believes(self, by: Session, partner: str, chat: str = CHAT) -> None:
        """Set the chat of a user at the end. An empty partner means none."""
        chat = chat if partner and by.kind is not Kind.PERSON else ""
        self.history.views.append(View(by.serial, by.name, by.kind, partner, chat))

    @property
    def verdict(self) -> checker.Verdict:
        """Return the checker's verdict."""
        return checker.check(self.history, lease=LEASE, grace=GRACE)

    @property
    def rules(self) -> list[str]:
        """Return the rules that were broken."""
        return list(self.verdict.violations)
