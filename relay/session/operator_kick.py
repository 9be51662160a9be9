"""Removes a user on an operator's request."""

from relay.protocol.commands_and_events import Refused
from relay.protocol.errors import MESSAGES, Code, Ending, Reason
from relay.session.session import Session


def kick(session: Session) -> None:
    """End the session at once, without waiting for outcomes. Nobody can resume it."""
    session.pairing.withdraw(Reason.LEFT)
    session.part(Reason.KICKED)
    session.end(Ending.KICKED, Refused(Code.KICKED, MESSAGES[Code.KICKED]))
