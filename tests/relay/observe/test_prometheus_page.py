"""The page /metrics: every number of a node under its name, in both formats."""

from collections.abc import Iterator
from itertools import count

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from relay.metrics import Counts, Histogram
from relay.observe.probe_server import Page
from relay.observe.prometheus_page import PrometheusPage, Reading, families
from relay.observe.session_stats import Tally

pytestmark = pytest.mark.anyio

OPEN = "application/openmetrics-text; version=1.0.0"


def reading(counts: Counts | None = None) -> Reading:
    tally = Tally(7, {("text", "busy"): 3, ("json", "away"): 2}, 5, 4)
    return Reading(
        node="n1",
        counts=counts or Counts(),
        tally=tally,
        ready=True,
        redis=True,
        hearing=True,
        waiting=0,
        lease=True,
        lease_age=1.5,
        memory=4096,
        publishing=True,
        links=0,
        silent=0,
        unwatched=False,
        writable=True,
    )


def each_its_own() -> Counts:
    """Return counters with different values."""
    counts, numbers = Counts(), count(1000)
    for name, value in vars(counts).items():
        if isinstance(value, dict):
            setattr(counts, name, {label: next(numbers) for label in value})
        elif isinstance(value, Histogram):
            value.counts[-1] = next(numbers)
        else:
            setattr(counts, name, next(numbers))
    return counts


def numbers_of(counts: Counts) -> Iterator[float]:
    for value in vars(counts).values():
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, Histogram):
            yield sum(value.counts)
        else:
            yield value


async def page(reading: Reading, accept: str = "") -> Page:
    async def read() -> Reading:
        return reading

    return await PrometheusPage(read).page(accept)


async def samples(reading: Reading) -> dict[tuple[str, str], float]:
    """Return values by name and label values, as Prometheus reads them."""
    made = await page(reading)
    found = parser.text_string_to_metric_families(made.body.decode())
    return {(s.name, " ".join(s.labels.values())): s.value for family in found for s in family.samples}


async def test_no_counter_is_forgotten() -> None:
    counts = each_its_own()
    shown = set((await samples(reading(counts))).values())
    assert set(numbers_of(counts)) <= shown


async def test_histograms_count_up_and_end_with_all() -> None:
    counts = Counts()
    counts.loop_lag = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 0.5, 9):
        counts.loop_lag.observe(value)
    found = await samples(reading(counts))
    name = "relay_loop_lag_seconds"
    assert [found[f"{name}_bucket", bound] for bound in ("0.1", "1", "+Inf")] == [1, 3, 4]
    assert (found[f"{name}_count", ""], found[f"{name}_sum", ""]) == (4, 10.1)


async def test_users_by_dialect_and_state() -> None:
    found = await samples(reading())
    assert found["relay_sessions", "text busy"] == 3
    assert found["relay_sessions", "json away"] == 2
    assert found["relay_sessions", "classic free"] == 0, "there before there is one"
    assert (found["relay_connections", ""], found["relay_users_chatting", ""]) == (7, 4)


@pytest.mark.parametrize(
    ("field", "metric"),
    [
        ("ready", "relay_ready"),
        ("redis", "relay_redis_up"),
        ("hearing", "relay_bus_hearing"),
        ("lease", "relay_lease_held"),
        ("publishing", "relay_bus_publishing"),
        ("writable", "relay_redis_writable"),
    ],
)
async def test_a_state_is_one_or_zero(field: str, metric: str) -> None:
    one = reading()
    assert (await samples(one))[metric, ""] == 1
    setattr(one, field, False)
    assert (await samples(one))[metric, ""] == 0


async def test_a_node_without_a_lease_has_one_of_no_age() -> None:
    one = reading()
    one.lease_age = float("inf")
    assert (await samples(one))["relay_lease_age_seconds", ""] == float("inf")


async def test_the_process_is_there_too() -> None:
    found = await samples(reading())
    assert found["process_cpu_seconds_total", ""] > 0
    assert found["process_open_fds", ""] > 2


async def test_open_metrics_for_those_who_ask() -> None:
    made = await page(reading(), OPEN)
    assert made.content_type.startswith("application/openmetrics-text")
    text = made.body.decode()
    names = [family.name for family in openmetrics.text_string_to_metric_families(text)]  # type: ignore[no-untyped-call]
    assert names[: len(names) // 2] == [family.name for family in families(reading())][: len(names) // 2]


@pytest.mark.parametrize(
    "accept", ["", "*/*", "\x00", "application/openmetrics-text;version=no", "text/plain;version=-"]
)
async def test_any_wish_gets_a_page(accept: str) -> None:
    made = await page(reading(), accept)
    assert made.content_type.isprintable()
    assert b"relay_node_info" in made.body


def test_names_and_texts_follow_the_rules() -> None:
    """These are Prometheus' own rules: a prefix, base units, and a help text."""
    for family in families(reading()):
        assert family.name.startswith("relay_")
        assert family.documentation.endswith(".")
        assert family.type != "counter" or not family.name.endswith("_total")
