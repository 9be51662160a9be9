"""Latencies: percentiles within the promised precision, merged as if all had been added to one."""

import random

import pytest

from relay.tools.bench.histogram import Histogram


def filled(durations: list[int]) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    return histogram


def test_small_durations_are_exact() -> None:
    histogram = filled(list(range(1, 101)))
    assert [histogram.percentile(percent) for percent in (0, 1, 50, 90, 99, 100)] == [1, 1, 50, 90, 99, 100]


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9])
def test_a_percentile_is_never_too_low_and_at_most_one_percent_too_high(percent: float) -> None:
    rng = random.Random(7)
    durations = sorted(int(rng.lognormvariate(13, 2)) for _ in range(10_000))
    exact = durations[int(len(durations) * percent / 100) - 1]
    found = filled(durations).percentile(percent)
    assert found is not None
    assert exact <= found <= exact * 1.01 + 1


def test_parts_merged_are_the_whole() -> None:
    durations = [3, 70_000, 70_000, 5_000_000, 999]
    whole, part = filled(durations), filled(durations[:2])
    part.merge(Histogram(filled(durations[2:]).counts))
    assert part.counts == whole.counts
    assert part.total == 5


def test_a_count_weighs_and_a_clock_that_went_back_is_no_time() -> None:
    histogram = Histogram()
    histogram.add(-5)
    histogram.add(9, 99)
    assert histogram.percentile(1) == 0
    assert histogram.percentile(2) == 9


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram().percentile(50) is None
