"""The report of a run: its limit, what was too slow, and what is unknown."""

import json

import pytest

from relay.tools.bench.coordinator import BUSY, Outcome
from relay.tools.bench.histogram import Histogram
from relay.tools.bench.report import as_json, lines
from relay.tools.bench.run_settings import RunSettings
from relay.tools.bench.worker import Result

SERVERS = (("a", 9999), ("b", 9999))


def outcome(settings: RunSettings, *, delivered: int = 1000, busy: float = 0.1, waiting: float = 0.0) -> Outcome:
    """Return the outcome of one worker that measured for a second."""
    result = Result(1000, delivered, 0, 0, delivered, 1.0, busy, waiting)
    return Outcome(settings, SERVERS, [result], 0.5)


def notes(outcome: Outcome) -> list[str]:
    return [line.removeprefix("note: ") for line in lines(outcome) if line.startswith("note: ")]


def test_a_run_that_went_well_needs_no_note() -> None:
    assert notes(outcome(RunSettings(rate=1000))) == []
    assert notes(outcome(RunSettings(), delivered=1)) == [], "as fast as it goes: nothing was asked for"


@pytest.mark.parametrize(("delivered", "kept_up"), [(980, True), (979, False)])
def test_a_rate_that_was_not_kept_up_is_noted(delivered: int, kept_up: bool) -> None:
    told = notes(outcome(RunSettings(rate=1000), delivered=delivered))
    assert told == ([] if kept_up else ["of 1,000 messages/s asked for, 979 were carried"])


@pytest.mark.parametrize(
    ("busy", "waiting", "limit"),
    [
        (BUSY, 0.0, "the load generator was the limit: use more --processes, or more machines"),
        (BUSY / 2, BUSY / 2, "this machine was the limit: the load generator waited for a free core"),
        (BUSY / 2, 0.0, ""),
    ],
)
def test_a_limit_that_was_not_the_cluster_is_noted(busy: float, waiting: float, limit: str) -> None:
    found = outcome(RunSettings(), busy=busy, waiting=waiting)
    assert notes(found) == [limit] * bool(limit)
    assert json.loads(as_json(found))["limited_by"] == limit


def test_the_latency_of_nothing_is_unknown() -> None:
    found = outcome(RunSettings(), delivered=0)
    assert "latency: p50 unknown, p90 unknown, p99 unknown, p99.9 unknown" in lines(found)
    assert set(json.loads(as_json(found))["latency"].values()) == {None}


def test_latencies_of_a_second_and_more_are_told_in_seconds() -> None:
    found = outcome(RunSettings())
    found.latencies = Histogram({2_000_000: 98, 1_500_000_000: 2})
    assert "latency: p50 2.00 ms, p90 2.00 ms, p99 1.50 s, p99.9 1.50 s" in lines(found)
    assert json.loads(as_json(found))["latency"] == {"p50": 0.002, "p90": 0.002, "p99": 1.5, "p99.9": 1.5}
