"""Waits for a client that is gone and may come back: tells its partner, and ends the session after the grace period."""

from typing import TYPE_CHECKING, Final

from relay.protocol.errors import Code, Ending, Reason
from relay.session.peer_messages import Away

if TYPE_CHECKING:
    from relay.session.session import Session


# If a client came back here more than this after its session had moved to another node (microseconds, by the clocks of
# this node and of Redis), then it is the same client as there: this node had missed the move while Redis had lost its
# data. Two clients that resume at once are closer together, and one of them has to hear that it was replaced.
RIVALS_US: Final = 500_000


class GracePeriod:
    """Handles the absences of one session's client, one at a time."""

    __slots__ = ("_number", "_session", "ended_us")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._number = 0
        self.ended_us = 0  # time of a client's last return on this node, in microseconds like fencing tokens; 0: never

    def ended_after(self, fencing_token: int) -> bool:
        """Return whether the client came back here long after its session had moved elsewhere under this fencing token.

        A token of 0 means that the time of the move is unknown.
        """
        return 0 < fencing_token < self.ended_us - RIVALS_US

    def end(self, at_us: int) -> None:
        """Note that a client came back to the session on this node at `at_us` (microseconds)."""
        self.ended_us = at_us

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
