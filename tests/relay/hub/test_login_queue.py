"""Newcomers are admitted in order: many at a time in quiet, few beside messages, and all of them in time."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.hub.login_queue import AT_ONCE, CROWD_SECONDS, TALK_SECONDS, TICK_SECONDS, TURN, LoginQueue


class Door:
    """A queue whose clock the test controls. Newcomers are numbers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.entered: list[int] = []
        self.gone: set[int] = set()
        self.login_queue = LoginQueue(lambda delay, then: self.timers.append((self.now + delay, then)), self.come)

    def come(self, newcomer: Any) -> None:
        if newcomer not in self.gone and self.login_queue.admits(newcomer):
            self.entered.append(newcomer)

    def crowd(self, size: int) -> None:
        for number in range(size):
            self.come(number)

    def update_talk(self, messages: int = 1, *, away: bool = False) -> None:
        self.login_queue.update_talk(messages, 0.1, away=away)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((timer for timer in self.timers if timer[0] <= end), key=lambda timer: timer[0]):
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = end


@pytest.fixture
def call_policy() -> Door:
    return Door()


@pytest.fixture
def talk(call_policy: Door) -> Door:
    """Count a message."""
    call_policy.update_talk()
    return call_policy


def test_a_newcomer_who_comes_alone_does_not_wait(talk: Door) -> None:
    talk.come(1)
    assert talk.entered == [1]


def test_while_nobody_talks_all_come_in_without_time_passing(call_policy: Door) -> None:
    call_policy.crowd(10 * TURN)
    assert call_policy.entered == list(range(AT_ONCE))
    call_policy.pass_time(0.0)
    assert call_policy.entered == list(range(10 * TURN))


def test_while_somebody_talks_a_few_come_in_with_each_tick_in_their_order(talk: Door) -> None:
    talk.crowd(100)
    for ticks in range(1, 10):
        assert talk.entered == list(range(AT_ONCE * ticks))
        talk.pass_time(TICK_SECONDS)


def test_a_newcomer_who_comes_while_others_wait_is_behind_them(talk: Door) -> None:
    talk.crowd(10)
    talk.pass_time(TICK_SECONDS)
    talk.come(10)
    talk.pass_time(1.0)
    assert talk.entered == list(range(11))


def test_a_newcomer_who_asks_again_while_it_waits_keeps_its_place_and_has_one_turn(talk: Door) -> None:
    talk.crowd(10)
    talk.come(9)
    talk.come(5)
    talk.pass_time(1.0)
    assert talk.entered == list(range(10))


def test_a_newcomer_who_is_gone_when_it_is_called_leaves_nothing(talk: Door) -> None:
    talk.crowd(10)
    talk.gone = {5, 9}
    talk.pass_time(1.0)
    assert talk.entered == [0, 1, 2, 3, 4, 6, 7, 8]
    talk.gone.clear()
    talk.come(10)
    talk.pass_time(1.0)
    # private: what is kept of one who is gone shows nowhere else
    assert not talk.login_queue._called
    # private: likewise
    assert not talk.login_queue._waiting


@pytest.mark.parametrize("crowd", [1_000, 10_000, 100_000])
def test_a_crowd_has_come_in_after_some_seconds_however_large_it_is(crowd: int, talk: Door) -> None:
    talk.crowd(crowd)
    talk.pass_time(1.0)
    assert len(talk.entered) < crowd / 2
    talk.pass_time(CROWD_SECONDS)
    assert len(talk.entered) == crowd


def test_newcomers_after_a_crowd_come_in_a_few_with_each_tick_again(talk: Door) -> None:
    talk.crowd(10_000)
    talk.pass_time(2 * CROWD_SECONDS)
    for newcomer in range(10_000, 10_100):
        talk.come(newcomer)
    before = len(talk.entered)
    talk.pass_time(TICK_SECONDS)
    assert len(talk.entered) - before == AT_ONCE


def test_somebody_who_has_said_nothing_for_a_while_does_not_talk(talk: Door) -> None:
    for _ in range(round(TALK_SECONDS / 0.1) - 1):
        talk.update_talk()
    talk.crowd(10)
    talk.pass_time(0.0)
    assert len(talk.entered) == AT_ONCE
    talk.pass_time(1.0)
    talk.update_talk()
    talk.crowd(100)
    talk.pass_time(0.0)
    assert len(talk.entered) == 110


def test_while_redis_cannot_be_asked_nobody_waits_to_hear_that(talk: Door) -> None:
    talk.update_talk(2, away=True)
    talk.crowd(100)
    talk.pass_time(0.0)
    assert len(talk.entered) == 100
