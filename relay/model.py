"""What several packages know of a user: the side of a chat, a chat that ended, and where a name lives."""

from typing import Annotated, Final, NamedTuple

import msgspec

from relay.protocol.errors import Presence, Reason

# The end of the year 9999 in Unix time, the last that a date of four digits shows.
LAST_SECOND: Final = 253_402_300_799
# Whoever can write to Redis can say anything: a number that is none (NaN) or has no end must not get past the decoder.
Moment = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]  # Unix time in seconds
Seconds = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]  # a span


class Party(msgspec.Struct, array_like=True, frozen=True):
    """One side of a chat, as the other side knows it."""

    node_id: str  # the node that holds the session
    canonical_name: str  # the name, in the form that is owned
    display_name: str  # the name, as its owner typed it
    fencing_token: int  # rises each time the name is claimed again; mail with a lower one is from a stale owner
    acks: str  # who acknowledges what this side receives: "client" or "node"
    grace: Seconds  # that a broken session waits for its client; 0: it ends with its connection
    rings: bool = False  # its node understands `Ringing` and `Typing`; those before didn't


class ChatRef(NamedTuple):
    """A chat, as everyone has to know it who isn't in it. In JSON it is an array of exactly these two."""

    id: str
    partner: Party


class Ended(msgspec.Struct, array_like=True, frozen=True):
    """The last chat of a session that is over."""

    chat: str
    name: str  # the partner's, as shown
    reason: Reason


class Located(msgspec.Struct, frozen=True):
    """Where a name lives, or that it doesn't."""

    state: Presence
    node_id: str = ""  # the node, unless the state is offline
