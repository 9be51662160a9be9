"""Has the users of a node move to other nodes before it stops, and ends the sessions that didn't move."""

from collections.abc import Callable, Mapping

from relay.protocol.commands_and_events import DrainClose, Moving
from relay.protocol.errors import Ending, Reason
from relay.session.session import Session


class Drain:
    """Tells JSON clients to move, and serves them until they have. Then it ends the text sessions, which can't move."""

    def __init__(self, sessions: Mapping[str, Session], begin: Callable[[], None]) -> None:
        """`sessions` has those of the node by canonical name. `begin` is called before any of them is told anything."""
        self._sessions = sessions
        self._begin = begin
        self._told: set[Session] = set()

    def poll(self) -> bool:
        """Notify remaining clients; return True when drained."""
        self._begin()
        there = [session for session in self._sessions.values() if not session.away]
        programs = [session for session in there if session.resumable]
        for session in programs:
            if session.named and session not in self._told:
                self._told.add(session)
                session.runtime.tell(session, Moving())
        if programs:
            return False
        for session in there:
            if session.named and not session.blocked:
                session.receive(DrainClose())
        return not there


def dismiss(session: Session) -> None:
    """End or detach a session because the node stops: a client that can resume does so elsewhere, others are told."""
    if not session.named:
        session.close()
        return
    session.pairing.withdraw(Reason.LEFT)
    if not session.resumable:
        session.runtime.tell(session, Moving())
        session.part(Reason.QUIT)
        session.end(Ending.DRAINED)
    elif not session.away:
        session.detach()
