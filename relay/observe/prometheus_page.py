"""Writes `/metrics`: a node's counters and its current state, in Prometheus' formats."""

import importlib.metadata
import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from anyio import Lock, to_thread
from msgspec import Struct
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from relay.metrics import Counts, Histogram
from relay.observe.probe_server import Page
from relay.observe.session_stats import DIALECTS, STATES, Tally

VERSION: Final = importlib.metadata.version("pair-relay")
CONTENT_TYPE_PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"


class Reading(Struct):
    """The state of a node at one moment."""

    node: str
    counts: Counts
    tally: Tally
    ready: bool
    redis: bool  # Redis answered the last pipeline
    hearing: bool  # the node receives its own probe
    waiting: int  # other nodes that have not acknowledged everything
    lease: bool  # the lease is held
    lease_age: float  # seconds; infinite without a lease
    memory: int  # bytes of messages and replies in flight
    publishing: bool  # PUBLISH is answered, and not refused
    links: int  # other nodes with a link
    silent: int  # servers at which nothing can be published
    unwatched: bool  # no sentinel answers, although there should be some
    writable: bool  # Redis accepted new data at the last renewal of the lease


class PrometheusPage:
    """Makes the page. It calls `read` for the state of the node each time."""

    def __init__(self, read: Callable[[], Awaitable[Reading]]) -> None:
        self._read = read
        self._process = ProcessCollector(registry=None)
        self._one_at_a_time = Lock()

    async def page(self, accept: str) -> Page:
        """Return the page in a format that the request's Accept header allows."""
        async with self._one_at_a_time:
            # This runs in a thread, because counting the open files takes a system call for each.
            process = await to_thread.run_sync(lambda: list(self._process.collect()))
            reading = await self._read()
        metrics = _Metrics([*families(reading), *process])
        try:
            encode, content_type = choose_encoder(accept if accept.isprintable() else "")
        except (TypeError, ValueError):  # the header has a version that isn't a number
            return Page(CONTENT_TYPE_PLAIN, generate_latest(metrics))
        return Page(content_type, encode(metrics))


class _Metrics(Collector):
    """The metrics as a collector, which the encoders of `prometheus_client` need."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def families(reading: Reading) -> Iterator[Metric]:
    """Yield every metric of a node, except those that any process has."""
    yield _gauge(
        "relay_node_info", "This node.", 1, node=reading.node, version=VERSION, python=platform.python_version()
    )
    yield _gauge("relay_ready", "Whether new clients may come (/readyz).", reading.ready)
    yield from _users(reading.counts, reading.tally)
    yield from _messages(reading.counts)
    yield _gauge("relay_memory_held_bytes", "Messages and replies under way, all clients together.", reading.memory)
    yield _labelled("relay_limit_hits", "Times that somebody ran into a limit.", "limit", reading.counts.limits)
    yield from _bus(reading)
    yield from _redis(reading)
    yield _histogram("relay_loop_lag_seconds", "How late a timer rang, ten times a second.", reading.counts.loop_lag)


def _users(counts: Counts, tally: Tally) -> Iterator[Metric]:
    yield _gauge("relay_connections", "Open connections of clients.", tally.connections)
    yield _counter("relay_connections_accepted", "Connections accepted.", counts.connections)
    sessions = GaugeMetricFamily("relay_sessions", "Sessions on this node.", labels=("dialect", "state"))
    for dialect in DIALECTS:
        for state in STATES:
            sessions.add_metric((dialect, state), tally.sessions.get((dialect, state), 0))
    yield sessions
    yield _labelled("relay_sessions_ended", "Sessions that are over, by why.", "reason", counts.endings)
    yield _gauge("relay_users_chatting", "Users of this node that are in a chat.", tally.chatting)
    yield _labelled("relay_claims", "Names claimed and sessions resumed, by how it ended.", "outcome", counts.claims)
    yield _labelled("relay_calls", "Calls of this node's users, by how they ended.", "outcome", counts.calls)


def _messages(counts: Counts) -> Iterator[Metric]:
    yield _counter("relay_messages_received", "Messages taken from clients of this node.", counts.accepted)
    yield _counter("relay_messages_delivered", "Messages told to clients of this node.", counts.delivered)
    yield _counter(
        "relay_messages_acknowledged", "Messages of this node's clients that their partners have.", counts.acknowledged
    )
    yield _counter("relay_messages_resent", "Messages sent again, as the partner may have missed them.", counts.resent)
    yield _labelled(
        "relay_messages_unconfirmed",
        "Messages of which nobody knows whether they arrived.",
        "reason",
        counts.unconfirmed,
    )
    yield _histogram(
        "relay_ack_latency_seconds", "From taking a message to its acknowledgement, end to end.", counts.latency
    )
    yield _histogram(
        "relay_window_fill_ratio",
        "Share of a window that is in use, once a second, empty ones left out.",
        counts.windows,
    )


def _bus(reading: Reading) -> Iterator[Metric]:
    counts = reading.counts
    yield _gauge("relay_bus_hearing", "Whether the node hears its own probe.", reading.hearing)
    yield _gauge("relay_bus_publishing", "Whether what is published is answered and accepted.", reading.publishing)
    yield _gauge("relay_bus_silent_servers", "Servers at which nothing can be published.", reading.silent)
    yield _gauge("relay_bus_links", "Other nodes that this one remembers.", reading.links)
    yield _gauge("relay_bus_waiting_nodes", "Other nodes that have not acknowledged everything.", reading.waiting)
    yield _histogram("relay_bus_echo_seconds", "The own probe's way through Redis and back.", counts.echo)
    yield _histogram("relay_bus_batch_size", "Pieces of mail in a frame to another node.", counts.batches)
    yield _counter("relay_bus_gaps", "Frames that came with something missing before them.", counts.gaps)
    yield _counter("relay_bus_frames_resent", "Frames sent again.", counts.frames_resent)
    yield _counter("relay_bus_resets", "Times that another node had given this one up.", counts.resets)
    yield _counter("relay_bus_deaf", "Times that the own probe was missed.", counts.missed_echoes)
    yield _counter("relay_bus_mute", "Times that no answer came to what was published.", counts.missed_publish_replies)
    yield _counter("relay_bus_publish_refusals", "Answers to PUBLISH that were refusals.", counts.publish_refused)


def _redis(reading: Reading) -> Iterator[Metric]:
    counts = reading.counts
    yield _gauge("relay_redis_up", "Whether Redis answered when it was last asked.", reading.redis)
    yield _histogram("relay_redis_round_trip_seconds", "Pipelines to Redis, connecting included.", counts.round_trips)
    yield _counter("relay_redis_failures", "Pipelines that Redis didn't answer.", counts.redis_failures)
    yield _gauge("relay_redis_writable", "Whether Redis takes new data, as names need.", reading.writable)
    yield _gauge(
        "relay_redis_unwatched", "Whether no sentinel answers: a failover wouldn't be noticed.", reading.unwatched
    )
    yield _gauge("relay_lease_held", "Whether the node's lease holds.", reading.lease)
    yield _gauge("relay_lease_age_seconds", "Since the lease was last renewed.", reading.lease_age)
    yield _counter("relay_lease_lapses", "Times that the lease lapsed.", counts.lapses)


def _gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), float(value))
    return family


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value)


def _labelled(name: str, text: str, label: str, values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((str(key),), value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    counts = accumulate(histogram.counts)
    return HistogramMetricFamily(name, text, list(zip(bounds, counts, strict=True)), histogram.sum)
