"""A user whom an operator wants gone. No I/O."""

from relay.protocol.errors import MESSAGES, Code, Ending, Reason
from relay.protocol.events import Refused
from relay.session.session import Session


def kick(session: Session) -> None:
    """An operator wants this user gone: no outcome is waited for, and nobody may resume the session."""
    session.pairing.withdraw(Reason.LEFT)
    session.part(Reason.KICKED)
    session.end(Ending.KICKED, Refused(Code.KICKED, MESSAGES[Code.KICKED]))
