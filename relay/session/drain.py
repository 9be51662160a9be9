"""A node that is about to stop has its users go on elsewhere, before it gives up those who didn't. No I/O."""

from collections.abc import Callable, Mapping

from relay.protocol.errors import Ending, Reason
from relay.protocol.events import DrainClose, Moving
from relay.session.session import Session


class Drain:
    """Programs are told to move and served until they have. Once all have gone, people are sent home, who can't."""

    def __init__(self, sessions: Mapping[str, Session], begin: Callable[[], None]) -> None:
        """`sessions`: those of the node, by name. `begin`: to be called before any of them is told anything."""
        self._sessions = sessions
        self._begin = begin
        self._told: set[Session] = set()

    def look(self) -> bool:
        """Tell whoever is to be told by now. Returns whether nobody has to be waited for any more."""
        self._begin()
        there = [session for session in self._sessions.values() if not session.away]
        programs = [session for session in there if session.resumable]
        for session in programs:
            if session.named and session not in self._told:
                self._told.add(session)
                session.host.tell(session, Moving())
        if programs:
            return False
        for session in there:
            if session.named and not session.blocked:
                session.receive(DrainClose())
        return not there


def dismiss(session: Session) -> None:
    """The node stops: a client that can resume may do so elsewhere, others are told and end here."""
    if not session.named:
        session.close()
        return
    session.pairing.withdraw(Reason.LEFT)
    if not session.resumable:
        session.host.tell(session, Moving())
        session.part(Reason.QUIT)
        session.end(Ending.DRAINED)
    elif not session.away:
        session.detach()
