"""How far a session has come."""

from enum import Enum


class State(Enum):
    """See `pairchat.protocol` for the steps between them."""

    NAMELESS = "nameless"
    CLAIMING = "claiming"
    ONLINE = "online"
    OFFLINE = "offline"  # no connection; the session waits for one
    RESUMING = "resuming"  # the token has been shown
    RETURNING = "returning"  # welcomed back; what stands is being told
    OVER = "over"
