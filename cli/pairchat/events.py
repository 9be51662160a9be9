"""The events of a client. A program receives them in the order in which they happened."""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

Ref = str | int  # a program's own label for a request

# The events are structs because two dozen dataclasses would take a tenth of the program's start time.


class DeliveryStatus(StrEnum):
    """The outcome of a text."""

    PENDING = "pending"  # it is on its way; after the connection was lost for good, the outcome is unknown
    DELIVERED = "delivered"  # it was acknowledged, see `Outgoing.by`
    UNCONFIRMED = "unconfirmed"  # no acknowledgement will come: it may have arrived or not
    REFUSED = "refused"  # the node did not accept it


@dataclass(eq=False)
class Outgoing:
    """A text on its way to the partner. The library keeps this object up to date and never replaces it."""

    id: int
    text: str
    chat: str
    by: str  # the side that acknowledges: "client" (the partner's program) or "node" (the partner's node)
    size: int  # bytes of the text in UTF-8, which is its share of the window
    fate: DeliveryStatus = DeliveryStatus.PENDING
    detail: str = ""  # the reason if UNCONFIRMED; the code if REFUSED, or `not_sent` if the chat ended first
    at: float | None = None  # its Unix time as the partner sees it; only the last text of an acknowledgement has one
    written: bool = field(default=False, repr=False)  # it was written to the connection and need not be written again
    tried: bool = field(default=False, repr=False)  # it may have reached a node
    earlier: bool = field(default=False, repr=False)  # it was sent on an earlier connection and may have arrived there


class Joined(msgspec.Struct, frozen=True):
    """The node confirmed the name. If `resumed` is true, the earlier session continues."""

    name: str
    node: str
    resumed: bool
    max_line: int = 65_536  # bytes of the longest line that the node accepts


class Paired(msgspec.Struct, frozen=True):
    """A chat with `name` began, whichever side called, or a call of the present partner was confirmed again.

    `ref`, here and in the other events, is the one of the request that this event answers, if the request had one.
    """

    name: str
    chat: str
    acks: str  # the side that acknowledges for the partner: "client" or "node"
    resumed: bool = False
    ref: Ref | None = None


class Message(msgspec.Struct, frozen=True):
    """The partner sent a text. It is acknowledged once the program has processed it, see `Chat`."""

    id: int
    sender: str
    chat: str
    text: str
    at: float  # Unix time in seconds at which the sender's node accepted it; the sender learns the same time


class Settled(msgspec.Struct, frozen=True):
    """A text of this session has its outcome: `text.fate` is no longer PENDING."""

    text: Outgoing


class Away(msgspec.Struct, frozen=True):
    """The partner's connection was lost. The partner may come back within `grace` seconds."""

    name: str
    grace: float
    chat: str = ""


class Back(msgspec.Struct, frozen=True):
    """The partner came back."""

    name: str
    chat: str = ""


class Left(msgspec.Struct, frozen=True):
    """The chat `chat` with `name` is over. `reason` is `quit`, `left` (on either side), `lost` or `kicked`.

    Compare `chat` with the one of `Paired`, because a later chat with the same partner may have begun already.
    """

    name: str
    reason: str
    chat: str = ""
    ref: Ref | None = None


class Presence(msgspec.Struct, frozen=True):
    """The answer to `who`. `state` is `free`, `busy`, `away` or `offline`."""

    name: str
    state: str
    ref: Ref | None = None


class Typing(msgspec.Struct, frozen=True):
    """The partner is typing. No event says that this has ended, so a display should drop it after some seconds."""

    name: str
    chat: str = ""


class Ringing(msgspec.Struct, frozen=True):
    """The user who was called is being asked, for `wait` seconds at most. `chat` is the id of the chat to be."""

    name: str
    wait: float
    chat: str = ""
    ref: Ref | None = None


class Invited(msgspec.Struct, frozen=True):
    """The user `name` calls. The program, which asked for this, accepts or declines within `wait` seconds."""

    name: str
    chat: str
    wait: float


class Missed(msgspec.Struct, frozen=True):
    """A call that this program did not answer in time is over."""

    name: str
    chat: str
    ref: Ref | None = None


class Blocked(msgspec.Struct, frozen=True):
    """The answer to `block` (`on` is true) and `unblock`: the calls of `name` are refused, or no longer refused."""

    name: str
    on: bool
    ref: Ref | None = None


class Moving(msgspec.Struct, frozen=True):
    """The node is about to stop. The client moves to another one while this one still serves."""


class Dropped(msgspec.Struct, frozen=True):
    """The connection is gone. The client looks for another one and continues the session there (`Joined`)."""

    reason: str


class Expired(msgspec.Struct, frozen=True):
    """The session could not be resumed, because it was away too long. The client claims its name again (`Joined`)."""

    name: str


class Lost(msgspec.Struct, frozen=True):
    """The session was ended by the other side.

    After `name_lost`, or the code with which a name was refused that had to be claimed again, the program may `claim` a
    name and go on. After `replaced` (another connection resumed the session) and `kicked` the node closes the
    connection.
    """

    code: str
    message: str


class Complaint(msgspec.Struct, frozen=True):
    """The node or this library reports an error that belongs to no request of the program."""

    code: str
    message: str


class Bye(msgspec.Struct, frozen=True):
    """The name was given back. Everything that was sent before has its outcome."""


Event = (
    Joined
    | Paired
    | Message
    | Settled
    | Away
    | Back
    | Left
    | Presence
    | Typing
    | Ringing
    | Invited
    | Missed
    | Blocked
    | Moving
    | Dropped
    | Expired
    | Lost
    | Complaint
    | Bye
)
