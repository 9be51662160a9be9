"""What can happen to a client, in the order in which it happened."""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

Ref = str | int  # a program's own mark for a request

# Structs, because two dozen dataclasses would take a tenth of the time in which the program starts.


class Fate(StrEnum):
    """What became of a text."""

    PENDING = "pending"  # on its way; if the connection is gone, nobody knows
    DELIVERED = "delivered"  # acknowledged, see `Outgoing.by`
    UNCONFIRMED = "unconfirmed"  # no acknowledgement will come: it may or may not have arrived
    REFUSED = "refused"  # the node did not take it


@dataclass(eq=False)
class Outgoing:
    """A text on its way to the partner. The protocol keeps it up to date; it is never replaced by another object."""

    id: int
    text: str
    chat: str
    by: str  # who acknowledges: "client" (the partner's program has it) or "node" (it left for the partner)
    size: int  # bytes of the text in UTF-8: its share of the window
    fate: Fate = Fate.PENDING
    detail: str = ""  # UNCONFIRMED: the reason; REFUSED: the code, or `not_sent`: the chat ended before it could go
    at: float | None = None  # its time as the partner sees it, if the acknowledgement said so: of the last of several
    written: bool = field(default=False, repr=False)  # handed to the connection since the node last wanted it
    tried: bool = field(default=False, repr=False)  # it may have reached a node
    earlier: bool = field(default=False, repr=False)  # on an earlier connection: some node may have taken it


class Joined(msgspec.Struct, frozen=True):
    """The name is ours; `resumed`: the session goes on where it was. `max_line`: bytes that a line may have."""

    name: str
    node: str
    resumed: bool
    max_line: int = 65_536


class Paired(msgspec.Struct, frozen=True):
    """A chat with `name` began, called by either side, or our call of the present partner was confirmed again.

    `ref`, here and in other events: that of the request which this answers, if it had one.
    """

    name: str
    chat: str
    acks: str  # who acknowledges on the other side: "client" or "node"
    resumed: bool = False
    ref: Ref | None = None


class Message(msgspec.Struct, frozen=True):
    """The partner wrote something. It is acknowledged once it has been dealt with, see `Chat`."""

    id: int
    sender: str
    chat: str
    text: str
    at: float  # Unix time in seconds at which the sender's node took it; the sender is told the same


class Settled(msgspec.Struct, frozen=True):
    """A text of ours met its fate: `text.fate` is no longer PENDING."""

    text: Outgoing


class Away(msgspec.Struct, frozen=True):
    """The partner's connection was lost; it may come back within `grace` seconds."""

    name: str
    grace: float
    chat: str = ""


class Back(msgspec.Struct, frozen=True):
    """The partner came back."""

    name: str
    chat: str = ""


class Left(msgspec.Struct, frozen=True):
    """The chat `chat` with `name` is over. `reason`: `quit`, `left` (also if it was us), `lost`, `kicked`.

    Compare `chat` with that of the `Paired`: there may have been another one with the same partner since.
    """

    name: str
    reason: str
    chat: str = ""
    ref: Ref | None = None


class Presence(msgspec.Struct, frozen=True):
    """The answer to `who`: `free`, `busy`, `away` or `offline`."""

    name: str
    state: str
    ref: Ref | None = None


class Typing(msgspec.Struct, frozen=True):
    """The partner is typing. Nothing tells that this has ended: believe it for some seconds."""

    name: str
    chat: str = ""


class Ringing(msgspec.Struct, frozen=True):
    """Whom we call is being asked, for `wait` seconds at most. `chat`: the one that it will be."""

    name: str
    wait: float
    chat: str = ""
    ref: Ref | None = None


class Invited(msgspec.Struct, frozen=True):
    """Somebody calls, and we said that we answer calls ourselves: accept or decline within `wait` seconds."""

    name: str
    chat: str
    wait: float


class Missed(msgspec.Struct, frozen=True):
    """A call that we did not answer in time is over."""

    name: str
    chat: str
    ref: Ref | None = None


class Blocked(msgspec.Struct, frozen=True):
    """Somebody's calls are refused from now on, or (`on` is false) not any more."""

    name: str
    on: bool
    ref: Ref | None = None


class Moving(msgspec.Struct, frozen=True):
    """The node is going away; it serves on for a while."""


class Dropped(msgspec.Struct, frozen=True):
    """The connection is gone. Another one is looked for, and the session goes on there (`Joined`)."""

    reason: str


class Expired(msgspec.Struct, frozen=True):
    """The session could not be resumed: it was away for too long. The name is being claimed again (`Joined`)."""

    name: str


class Lost(msgspec.Struct, frozen=True):
    """The session is over against our will.

    `name_lost`, or the refusal of a name that had to be claimed again: `claim` one to go on. `replaced` (another
    connection resumed the session) and `kicked`: the node closes.
    """

    code: str
    message: str


class Complaint(msgspec.Struct, frozen=True):
    """The node refused something that can't be told from here."""

    code: str
    message: str


class Bye(msgspec.Struct, frozen=True):
    """The name was given back; everything before has had its outcome."""


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
