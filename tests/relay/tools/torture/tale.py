"""Histories that tests make up: ann and bob talk and all is well, until a test adds what isn't."""

from relay.tools.torture import checker
from relay.tools.torture.history import OPEN, Arrival, Fault, Heard, History, Kind, Parted, Said, Session, Span, View

LEASE, GRACE = 2.0, 8.0  # seconds; those of `relay torture`
CHAT = "chat-1"


class Tale:
    """Begins with two programs who have said enough to each other. What is added happens at second 10 unless told."""

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
        """Somebody is given a name."""
        return self.history.begin(name, kind, at, node, stranger=stranger)

    def pair(self, one: Session, other: Session) -> None:
        """Each is told of the other."""
        self.history.paired(one, other.name, 0.0, CHAT)
        self.history.paired(other, one.name, 0.0, CHAT)

    def says(self, by: Session, to: str, *outcomes: str, chat: str = CHAT, at: float = 10.0) -> Said:
        """A message, and what its sender was told of it."""
        self._numbers += 1
        key = f"{by.name}/{by.serial}/{self._numbers}"
        chat = "" if by.kind is Kind.PERSON else chat
        self.history.said[key] = Said(key, by.serial, to, chat, at, self._numbers, list(outcomes))
        return self.history.said[key]

    def hears(self, by: Session, said: Said, *, chat: str = CHAT, sender: str = "", at: float = 10.0) -> None:
        """A message arrives."""
        sender = sender or self.history.sessions[said.session].name
        chat = "" if by.kind is Kind.PERSON else chat
        self.history.heard.append(Heard(said.key, by.serial, chat, sender, at, said.id))

    def parts(
        self, by: Session, partner: str, reason: str, *, since: float = 0.0, at: float = 10.0, asked: bool = False
    ) -> None:
        """Somebody is told that the chat is over. `asked`: as it wanted."""
        self.history.parted.append(Parted(by.serial, partner, CHAT, reason, since, at, asked))

    def breaks(self, kind: str, began: float, ended: float, *, node: int = -1) -> None:
        """The nemesis does something."""
        self.history.faults.append(Fault(kind, Span(began, ended), node))

    def comes(self, *, answered: float = OPEN, left: float = OPEN, ended: float = 30.0) -> None:
        """Somebody new comes to node 0."""
        self.history.arrivals.append(Arrival("new1", 0, 10.0, answered, left, ended))

    def believes(self, by: Session, partner: str, chat: str = CHAT) -> None:
        """At the end somebody is in a chat, or (partner empty) in none."""
        chat = chat if partner and by.kind is not Kind.PERSON else ""
        self.history.views.append(View(by.serial, by.name, by.kind, partner, chat))

    @property
    def verdict(self) -> checker.Verdict:
        """What the checker makes of it."""
        return checker.check(self.history, lease=LEASE, grace=GRACE)

    @property
    def rules(self) -> list[str]:
        """The rules that were broken."""
        return list(self.verdict.violations)
