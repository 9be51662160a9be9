"""The pauses between attempts."""

from relay.redis_client.backoff import BRIEF_SECONDS, RECONNECT_SECONDS, Backoff


def test_pauses_grow_with_each_failure_up_to_the_last() -> None:
    backoff = Backoff((0.0, 0.1, 0.5))
    assert [backoff.after(well=False) for _ in range(4)] == [0.1, 0.5, 0.5, 0.5]


def test_pauses_begin_anew_once_a_try_went_well() -> None:
    backoff = Backoff((0.0, 0.1, 0.5))
    assert [backoff.after(well=well) for well in (False, False, True, False, True, True)] == [0.1, 0.5, 0, 0.1, 0, 0]


def test_a_try_that_went_well_only_briefly_has_failed() -> None:
    backoff = Backoff((0.0, 0.1, 0.5))
    lasted = [BRIEF_SECONDS / 2, BRIEF_SECONDS / 2, BRIEF_SECONDS, 0.0]
    assert [backoff.after(well=True, lasted=seconds) for seconds in lasted] == [0.1, 0.5, 0.0, 0.1]


def test_a_table_of_one_pause_never_changes() -> None:
    backoff = Backoff((1.0,))
    assert [backoff.after(well=well) for well in (False, False, True)] == [1.0, 1.0, 1.0]


def test_a_connection_that_served_is_made_anew_at_once_and_none_is_waited_for_longer_than_half_a_second() -> None:
    assert (RECONNECT_SECONDS[0], max(RECONNECT_SECONDS)) == (0.0, 0.5)
    assert list(RECONNECT_SECONDS) == sorted(RECONNECT_SECONDS)
