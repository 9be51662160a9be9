"""Waits for a client that is gone and may come back: tells its partner, and ends the session after the grace period."""

from typing import TYPE_CHECKING, Final

from relay.protocol.errors import Code, Ending, Reason
from relay.session.peer_messages import Away

if TYPE_CHECKING:
    from relay.session.session import Session


# A client that came back here less than this before this node hears of a move is a rival of the client that moved: both
# resumed at once, and one of them has to hear that it was replaced. Two such resumes are a few round trips apart.
RIVALS_SECONDS: Final = 0.5


class GracePeriod:
    """Handles the absences of one session's client, one at a time."""

    __slots__ = ("_number", "_returned_at", "_session", "returns")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._number = 0
        self.returns = 0  # the number of times that a client came back to the session on this node
        self._returned_at = float("-inf")  # the runtime's `instant` of the last time

    def ended_after(self, returns: int) -> bool:
        """Return whether a client may have come here long after its session had moved elsewhere.

        `returns` is the number in the record that the move replaced; -1 if it may not have replaced this session's.
        Only a move that knew of the last return here is known to be later. Time stamps tell nothing of that, because
        the clocks of nodes and of servers differ. See `RIVALS_SECONDS` for a client that has just come back.
        """
        return returns < self.returns and self._session.runtime.instant - self._returned_at >= RIVALS_SECONDS

    def end(self) -> None:
        """Note that a client came back to the session on this node. The caller writes the record."""
        self.returns += 1
        self._returned_at = self._session.runtime.instant

    def begin(self) -> None:
        """Begin an absence: the client is gone."""
        session = self._session
        session.call_policy.cancel_incoming(Code.AWAY)
        session.runtime.close(session)
        if session.chat is not None:
            session.chat.forget_untold()
        self._number = number = self._number + 1
        # The record is written first, because the partner looks there once it is told.
        session.runtime.save(session, lambda _: self._tell(number))
        self._wait(number)

    def _tell(self, number: int) -> None:
        if self._lasts(number) and (chat := self._session.chat) is not None:
            session = self._session
            session.runtime.post(
                chat.partner.node_id, Away(chat.partner.canonical_name, chat.id, session.grace, session.fencing_token)
            )

    def _wait(self, number: int) -> None:
        """End the session after the grace period. If Redis is down, wait again, because nobody can come back then."""

        def ask() -> None:
            if self._lasts(number):
                self._session.runtime.save(self._session, over)

        def over(there: bool) -> None:
            if not self._lasts(number):
                return
            if there:
                self._session.part(Reason.LOST)
                self._session.end(Ending.GRACE_OVER)
            else:
                self._wait(number)

        self._session.runtime.call_later(self._session.grace, ask)

    def _lasts(self, number: int) -> bool:
        return self._number == number and self._session.away

    def let_go(self) -> None:
        """Drop the reference to the session, which is over."""
        self._number = 0
        del self._session
