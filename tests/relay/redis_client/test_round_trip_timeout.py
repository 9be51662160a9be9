"""Time-outs for answers: the usual time and some more, within bounds."""

import pytest

from relay.redis_client.round_trip_timeout import (
    FIRST_SECONDS,
    LEAST_OF,
    LONGEST_SECONDS,
    SLACK_SECONDS,
    RoundTripTimeout,
)


def measured(*seconds: float) -> RoundTripTimeout:
    round_trip = RoundTripTimeout()
    for one in seconds:
        round_trip.took(one)
    return round_trip


def test_before_anything_is_known() -> None:
    assert RoundTripTimeout().patience == FIRST_SECONDS
    assert RoundTripTimeout().least == 0.0


def test_a_near_server_that_is_silent_is_given_up_soon() -> None:
    assert measured(*[0.001] * 20).patience == pytest.approx(SLACK_SECONDS, abs=0.01)


def test_a_far_server_has_the_time_that_its_way_takes() -> None:
    round_trip = measured(*[0.7] * 20)
    assert 0.7 + SLACK_SECONDS <= round_trip.patience < 0.7 + SLACK_SECONDS + 0.1
    assert round_trip.least == 0.7


def test_a_server_whose_answers_come_irregularly_has_more_time() -> None:
    assert measured(*[0.1, 0.5] * 20).patience > 0.5 + SLACK_SECONDS


def test_a_way_that_has_become_longer_is_found_out() -> None:
    round_trip = measured(*[0.001] * 100)
    tries = 0
    while round_trip.patience < 0.7:
        round_trip.missed()
        tries += 1
    assert tries <= 2
    round_trip.took(0.7)
    assert round_trip.patience > 0.7, "the next answer takes as long"
    assert round_trip.least == 0.7


def test_nobody_is_waited_for_without_end() -> None:
    round_trip = measured(10.0)
    for _ in range(100):
        round_trip.missed()
    assert round_trip.patience == LONGEST_SECONDS
    assert round_trip.least == LONGEST_SECONDS
    round_trip.took(0.001)
    assert measured(*[0.001] * 100).patience < FIRST_SECONDS


def test_the_time_that_a_busy_server_takes_is_not_that_of_the_way() -> None:
    assert measured(0.001, *[0.9] * LEAST_OF).least == 0.001
    assert measured(0.001, *[0.9] * 2 * LEAST_OF).least == 0.9
