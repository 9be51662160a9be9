"""A client that is gone and may come back: its partner is told, and after the grace its session is given up."""

from typing import TYPE_CHECKING, Final

from relay.protocol.errors import Code, Ending, Reason
from relay.session.peer_messages import Away

if TYPE_CHECKING:
    from relay.session.session import Session


# A client that came back here so much later than its session had gone elsewhere (microseconds, by the clocks of this
# node and of Redis) is no rival of that one's client, but the same: it met what a node had missed while Redis had
# forgotten. Two that resume at once are nearer, and one of them has to hear that it was replaced.
RIVALS_US: Final = 500_000


class GracePeriod:
    """The absences of one session's client, one after the other."""

    __slots__ = ("_number", "_session", "ended_us")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._number = 0
        self.ended_us = 0  # when a client last came back to it on this node, in microseconds as fences count them

    def ended_after(self, fencing_token: int) -> bool:
        """Whether the client came back here when its session had long been elsewhere, under this fence (0: unknown)."""
        return 0 < fencing_token < self.ended_us - RIVALS_US

    def end(self, at_us: int) -> None:
        """A client has come back to the session on this node, at this time."""
        self.ended_us = at_us

    def begin(self) -> None:
        """The client is gone."""
        session = self._session
        session.call_policy.cancel_incoming(Code.AWAY)
        session.host.close(session)
        if session.chat is not None:
            session.chat.forget_untold()
        self._number = number = self._number + 1
        # The record first: whoever is told looks there next.
        session.host.save(session, lambda _: self._tell(number))
        self._wait(number)

    def _tell(self, number: int) -> None:
        if self._lasts(number) and (chat := self._session.chat) is not None:
            session = self._session
            session.host.post(
                chat.partner.node_id, Away(chat.partner.canonical_name, chat.id, session.grace, session.fencing_token)
            )

    def _wait(self, number: int) -> None:
        """Until the grace is over. While Redis is away nobody can come back, so that time doesn't count."""

        def ask() -> None:
            if self._lasts(number):
                self._session.host.save(self._session, over)

        def over(there: bool) -> None:
            if not self._lasts(number):
                return
            if there:
                self._session.part(Reason.LOST)
                self._session.end(Ending.GRACE_OVER)
            else:
                self._wait(number)

        self._session.host.call_later(self._session.grace, ask)

    def _lasts(self, number: int) -> bool:
        return self._number == number and self._session.away

    def let_go(self) -> None:
        """The session is over: nothing here refers to it any more."""
        self._number = 0
        del self._session
