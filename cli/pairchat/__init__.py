"""Chat with one other person, or program, over a relay. See `connect`; `ClientProtocol` is the same without I/O."""

from pairchat.client import Chat, Receipt, connect
from pairchat.errors import (
    BadServer,
    ConnectionFailed,
    ConnectionLost,
    NameLost,
    NotARelay,
    NotConfirmed,
    PairchatError,
    Refused,
)
from pairchat.escape import escape
from pairchat.events import (
    Away,
    Back,
    Bye,
    Complaint,
    Dropped,
    Event,
    Expired,
    Fate,
    Joined,
    Left,
    Lost,
    Message,
    Moving,
    Outgoing,
    Paired,
    Presence,
    Settled,
)
from pairchat.protocol import ClientProtocol
from pairchat.requests import Request

__all__ = [
    "Away",
    "Back",
    "BadServer",
    "Bye",
    "Chat",
    "ClientProtocol",
    "Complaint",
    "ConnectionFailed",
    "ConnectionLost",
    "Dropped",
    "Event",
    "Expired",
    "Fate",
    "Joined",
    "Left",
    "Lost",
    "Message",
    "Moving",
    "NameLost",
    "NotARelay",
    "NotConfirmed",
    "Outgoing",
    "PairchatError",
    "Paired",
    "Presence",
    "Receipt",
    "Refused",
    "Request",
    "Settled",
    "connect",
    "escape",
]
