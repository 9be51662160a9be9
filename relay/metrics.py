"""What a node counts: plain numbers that whoever passes adds to. `relay.observe.exporter` reads them when it is asked.

Messages are counted by the run, their latency once for each acknowledgement: the way of a message has to stay short.
"""

from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from relay.protocol.errors import Code, Ending, Reason

# Upper bounds in seconds. A round trip in one data centre takes less than a millisecond, a slow reader half a minute.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# The same where a second is already a failure: Redis, the loop.
SHORT_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
PIECES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


class Limit(StrEnum):
    """Every limit that a client, or another node, can run into, by its name on /metrics.

    To add one: a member here, and `counts.hit(Limit.…)` where it holds somebody up.
    """

    CONNECTIONS = "connections"  # --max-connections: one was closed
    ADDRESS = "connections_per_address"  # --max-connections-per-address: likewise
    CLAIMS = "claims"  # --max-claims: one was refused
    CALLS = "calls"  # --max-calls: a call or a look-up was refused
    RATE = "rate"  # --max-lines and --max-bytes: reading stopped for a moment
    FILES = "files"  # no file descriptors left: accepting stopped
    HEADER = "header"  # --proxy-protocol: a connection without one that can be read was closed
    LINE = "line"  # --max-line: a line was refused
    WINDOW = "window"  # --window and --window-bytes, unacknowledged messages: one was refused, or reading stopped
    REPLIES = "replies"  # a client doesn't read what it is told: reading stopped
    MEMORY = "memory"  # --memory: windows are smaller for a while
    HANDSHAKE_TIME = "handshake_time"  # the handshake of TLS took too long: closed
    NAME_TIME = "name_time"  # --name-time: no name was sent in time: closed
    BLOCKS = "blocks"  # names that one session blocks: one was refused
    LINKS = "links"  # nodes to have links with: mail was dropped


class Outcome(StrEnum):
    """How a claim or a call ends well; else it ends with a `Code`."""

    GRANTED = "granted"  # a name was claimed
    RESUMED = "resumed"  # a session was resumed
    PAIRED = "paired"  # a call made a pair


# Where the labels are known they are there from the start: a rate can't be told from a count that appears with its
# first event.
CLAIMS: Final = (
    Outcome.GRANTED,
    Outcome.RESUMED,
    Code.NAME_TAKEN,
    Code.BAD_TOKEN,
    Code.BAD_AUTH,
    Code.NAME_INVALID,
    Code.RATE_LIMITED,
    Code.UNAVAILABLE,
)
CALLS: Final = (
    Outcome.PAIRED,
    Code.NO_SUCH_USER,
    Code.BUSY,
    Code.AWAY,
    Code.DECLINED,
    Code.SELF_CHAT,
    Code.NAME_INVALID,
    Code.RATE_LIMITED,
    Code.UNAVAILABLE,
)


class Histogram:
    """How many values were up to each bound and above the one before; the last count is of those above all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counts:
    """The counters of one node, all since its start."""

    def __init__(self) -> None:
        self.connections = 0  # accepted
        self.claims: dict[str, int] = dict.fromkeys(CLAIMS, 0)  # by Outcome or Code
        self.calls: dict[str, int] = dict.fromkeys(CALLS, 0)  # likewise
        self.endings = dict.fromkeys(Ending, 0)  # sessions that are over
        self.limits = dict.fromkeys(Limit, 0)

        # Messages of this node's clients: each that was taken is acknowledged or unconfirmed in the end.
        self.taken = 0
        self.acknowledged = 0
        self.unconfirmed = dict.fromkeys(Reason, 0)
        self.resent = 0  # sent again, because the partner or its node had missed them, or may have
        self.delivered = 0  # messages that clients of this node were told
        self.latency = Histogram(SECONDS)  # of the oldest message of each acknowledgement, since it was taken
        self.windows = Histogram(SHARES)  # how full those are that aren't empty, looked at once a second

        self.batches = Histogram(PIECES)  # pieces of mail in a frame to another node
        self.frames_resent = 0
        self.gaps = 0  # frames that came with something missing before them
        self.resets = 0  # other nodes that had given this one up
        self.deaf = 0  # times that the own probe was missed
        self.mute = 0  # times that no answer came to what was published
        self.publish_refused = 0  # answers that were refusals
        self.echo = Histogram(SHORT_SECONDS)  # the own probe's way through Redis

        self.round_trips = Histogram(SHORT_SECONDS)  # pipelines to Redis
        self.redis_failures = 0  # pipelines without any answer
        self.lapses = 0  # of the lease

        self.loop_lag = Histogram(SHORT_SECONDS)  # how much later than asked for a timer rings

    def hit(self, limit: Limit) -> None:
        """Somebody ran into a limit."""
        self.limits[limit] += 1

    def claim(self, outcome: str) -> None:
        """A claim or a resume ended so."""
        self.claims[outcome] = self.claims.get(outcome, 0) + 1

    def call(self, outcome: str) -> None:
        """A call ended so, for its caller."""
        self.calls[outcome] = self.calls.get(outcome, 0) + 1
