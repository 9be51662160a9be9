"""The counters of a node: plain numbers that all code adds to. `prometheus_page` reads them at each request.

Messages are counted in batches, and their latency once for each acknowledgement, to keep the hot path short.
"""

from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from relay.protocol.errors import Code, Ending, Reason

# Upper bounds of buckets in seconds. A round trip in a data centre takes less than a millisecond, a slow reader half a
# minute.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# The same for Redis and the event loop, where a second is already a failure.
SHORT_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
PIECES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


class Limit(StrEnum):
    """The limits that a client or another node can hit, by their names on /metrics.

    A new limit needs a member here, and `counts.hit(Limit.…)` where it takes effect.
    """

    CONNECTIONS = "connections"  # --max-connections: a connection was closed
    ADDRESS = "connections_per_address"  # --max-connections-per-address: a connection was closed
    CLAIMS = "claims"  # --max-claims: a claim was refused
    CALLS = "calls"  # --max-calls: a call or a look-up was refused
    RATE = "rate"  # --max-lines and --max-bytes: reading stopped for a moment
    FILES = "files"  # no file descriptors left: accepting stopped
    HEADER = "header"  # --proxy-protocol: a connection without a valid header was closed
    LINE = "line"  # --max-line: a line was refused
    HTTP_HEAD = "http_head"  # the head of an HTTP request was too large or too late: it was refused
    WINDOW = "window"  # --window and --window-bytes: a message was refused, or reading stopped
    REPLIES = "replies"  # a client doesn't read its replies: reading from it stopped
    MEMORY = "memory"  # --memory: windows are smaller for a while
    HANDSHAKE_TIME = "handshake_time"  # a TLS handshake took too long: the connection was closed
    NAME_TIME = "name_time"  # --name-time: no name came in time: the connection was closed
    BLOCKS = "blocks"  # a session blocks too many names: one was refused
    LINKS = "links"  # too many links with other nodes: a peer message was dropped


class Outcome(StrEnum):
    """The success of a claim or a call. A failure is a `Code`."""

    GRANTED = "granted"  # a name was claimed
    RESUMED = "resumed"  # a session was resumed
    PAIRED = "paired"  # a call made a pair


# Known labels exist from the start, as no rate can be computed from a counter that appears with its first event.
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
    """Counts the values up to each bound and above the one before. The last count is for those above all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Add a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counts:
    """The counters of one node since its start."""

    def __init__(self) -> None:
        self.connections = 0  # accepted
        self.claims: dict[str, int] = dict.fromkeys(CLAIMS, 0)  # by Outcome or Code
        self.calls: dict[str, int] = dict.fromkeys(CALLS, 0)  # by Outcome or Code
        self.endings = dict.fromkeys(Ending, 0)  # sessions that have ended
        self.limits = dict.fromkeys(Limit, 0)

        # Messages of this node's clients. Each accepted one is acknowledged or unconfirmed in the end.
        self.accepted = 0
        self.acknowledged = 0
        self.unconfirmed = dict.fromkeys(Reason, 0)
        self.resent = 0  # messages sent again, as the partner or its node may have missed them
        self.delivered = 0  # messages delivered to clients of this node
        self.latency = Histogram(SECONDS)  # from the acceptance of the oldest message of each acknowledgement
        self.windows = Histogram(SHARES)  # the share used of each window that isn't empty, sampled once a second

        self.batches = Histogram(PIECES)  # peer messages in a frame to another node
        self.frames_resent = 0
        self.gaps = 0  # received frames with a gap before them
        self.resets = 0  # nodes that had forgotten their link with this one
        self.missed_echoes = 0  # times that the echo of the own probe was missing
        self.missed_publish_replies = 0  # times that replies to PUBLISH were missing
        self.publish_refused = 0  # replies to PUBLISH that were refusals
        self.echo = Histogram(SHORT_SECONDS)  # the round trip of the own probe through Redis

        self.round_trips = Histogram(SHORT_SECONDS)  # pipelines to Redis
        self.redis_failures = 0  # pipelines without any reply
        self.lapses = 0  # times that the lease lapsed

        self.loop_lag = Histogram(SHORT_SECONDS)  # the delay of a timer beyond its due time

    def hit(self, limit: Limit) -> None:
        """Count a limit that was hit."""
        self.limits[limit] += 1

    def claim(self, outcome: str) -> None:
        """Count the outcome of a claim or a resume."""
        self.claims[outcome] = self.claims.get(outcome, 0) + 1

    def call(self, outcome: str) -> None:
        """Count the outcome of a call, at its caller."""
        self.calls[outcome] = self.calls.get(outcome, 0) + 1
