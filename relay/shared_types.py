"""Types that several packages share: a side of a chat, a chat that ended, a former session, the location of a name."""

from typing import Annotated, Final, NamedTuple

import msgspec

from relay.protocol.errors import Presence, Reason

# The end of the year 9999 in Unix time, the last that a date with a year of four digits can show.
LAST_SECOND: Final = 253_402_300_799
# The decoder must refuse NaN and infinity, as anyone with access to Redis can write anything.
Moment = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]  # Unix time in seconds
Seconds = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]  # a duration


class Party(msgspec.Struct, array_like=True, frozen=True):
    """A side of a chat, as the other side knows it."""

    node_id: str  # the node that holds the session
    canonical_name: str  # the canonical form, which is unique in the cluster
    display_name: str  # the name as its owner typed it
    fencing_token: int  # rises with each claim of the name; a message with a lower one is from a former owner
    acks: str  # "client" or "node": the one that acknowledges what this side receives
    grace: Seconds  # how long a broken session waits for its client; 0: it ends with its connection
    rings: bool = False  # whether its node understands `Ringing` and `Typing`; earlier releases don't


class ChatRef(NamedTuple):
    """The id of a chat and the partner in it. In JSON it is an array of exactly these two."""

    id: str
    partner: Party


class Ended(msgspec.Struct, array_like=True, frozen=True):
    """The last chat of a session that is over."""

    chat: str
    name: str  # the partner's display name
    reason: Reason


class FormerSession(msgspec.Struct, array_like=True, frozen=True):
    """The session on another node that became this one, as its record was when it was replaced."""

    session_id: str
    returns: int  # the number of times that a client had come back to it


class Located(msgspec.Struct, frozen=True):
    """The presence of a user, and the node of its session."""

    state: Presence
    node_id: str = ""  # empty if the state is offline
