"""The catalogue of error codes, and of reasons why a chat or session is over, by their names on the wire."""

from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """Why a command was refused, or why the node ended a session. The connection stays usable, unless noted."""

    NAME_TAKEN = "name_taken"
    NAME_INVALID = "name_invalid"
    NAME_LOST = "name_lost"  # another connection owns the name now; JSON goes back before `hello`, text is closed
    BAD_TOKEN = "bad_token"  # there is no session with this token to resume
    BAD_AUTH = "bad_auth"  # the signed token for the name is missing or invalid
    BAD_VERSION = "bad_version"
    BAD_FRAME = "bad_frame"
    BAD_ORDER = "bad_order"
    TOO_LONG = "too_long"
    WINDOW_FULL = "window_full"
    RATE_LIMITED = "rate_limited"
    NO_SUCH_USER = "no_such_user"
    SELF_CHAT = "self_chat"
    BUSY = "busy"
    AWAY = "away"
    NOT_PAIRED = "not_paired"
    DECLINED = "declined"  # the callee declined the call, or didn't answer
    NOT_CALLED = "not_called"  # there is no call to answer
    TOO_MANY = "too_many"  # too many names are blocked
    UNAVAILABLE = "unavailable"
    KICKED = "kicked"  # the operator closed the connection


class Reason(StrEnum):
    """Why a chat is over, or why no acknowledgement will come."""

    QUIT = "quit"  # the partner gave its name back
    LEFT = "left"  # the partner left the chat and is still online
    LOST = "lost"  # the partner's connection or node is gone for good, or its grace is over
    KICKED = "kicked"  # the operator disconnected the partner
    NAME_LOST = "name_lost"  # the sender's own name went to another connection


class Ending(StrEnum):
    """Why a session is over on its node. It appears only in the log and on /metrics; partners are sent a `Reason`."""

    QUIT = "quit"  # the client gave its name back
    HUNG_UP = "hung_up"  # the connection is gone, and the client can't resume
    GRACE_OVER = "grace_over"  # the connection is gone, and the client hasn't resumed within the grace period
    REPLACED = "replaced"  # the session was resumed on another connection or node
    NAME_LOST = "name_lost"  # another connection owns the name
    DRAINED = "drained"  # the node is shutting down
    KICKED = "kicked"  # the operator disconnected the client


class Presence(StrEnum):
    """The state of a user in the answer to `who`."""

    FREE = "free"
    BUSY = "busy"
    AWAY = "away"
    OFFLINE = "offline"


# The error messages for people. Text clients see them after "* ", unless the original server had its own wording.
MESSAGES: Final[dict[Code, str]] = {
    Code.NAME_TAKEN: "This name belongs to another connection.",
    Code.NAME_INVALID: "This is not a valid name.",
    Code.NAME_LOST: "Your name now belongs to another connection.",
    Code.BAD_TOKEN: "There is no session with this name and token; claim the name again.",
    Code.BAD_AUTH: "This name needs a valid token.",
    Code.BAD_VERSION: "This version of the protocol is not spoken here.",
    Code.BAD_FRAME: "This is not a valid frame.",
    Code.BAD_ORDER: "Ids start at 1 and rise by one.",
    Code.TOO_LONG: "This line is too long and was not sent.",
    Code.WINDOW_FULL: "Too much is unacknowledged; wait for acknowledgements.",
    Code.RATE_LIMITED: "Too fast; slow down.",
    Code.NO_SUCH_USER: "There is no such user.",
    Code.SELF_CHAT: "Please don't try to talk with yourself.",
    Code.BUSY: "This user is talking with someone else.",
    Code.AWAY: "This user is away.",
    Code.NOT_PAIRED: "Nobody is chatting with you.",
    Code.DECLINED: "The call was not answered.",
    Code.NOT_CALLED: "Nobody is calling.",
    Code.TOO_MANY: "Too many names are blocked.",
    Code.UNAVAILABLE: "Not possible right now, try again.",
    Code.KICKED: "You have been disconnected by the operator.",
}
