"""A user whom an operator wants gone. No I/O."""

from relay.errors import MESSAGES, Code, Ending, Reason
from relay.events import Refused
from relay.session import Session


def kick(session: Session) -> None:
    """An operator wants this user gone: no outcome is waited for, and nobody may resume the session."""
    session.pairing.withdraw(Reason.LEFT)
    session.part(Reason.KICKED)
    session.end(Ending.KICKED, Refused(Code.KICKED, MESSAGES[Code.KICKED]))
