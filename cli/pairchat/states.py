"""The states of a session at the client."""

from enum import Enum


class State(Enum):
    """The state of a session. `pairchat.sansio_protocol` shows the transitions."""

    NAMELESS = "nameless"  # no name was claimed yet, or the last one was lost
    CLAIMING = "claiming"  # a name was asked for
    ONLINE = "online"  # a node serves the session
    OFFLINE = "offline"  # there is no connection, and the session waits for one
    RESUMING = "resuming"  # the token was sent, and the answer is awaited
    RETURNING = "returning"  # the session was resumed, and the node is reporting its state
    OVER = "over"  # the session has ended, and nothing follows
