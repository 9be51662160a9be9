"""Token buckets: the requests that they let through, and their refill."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.hub.rate_limit import RateLimiter, TokenBucket
from relay.session.runtime_interface import Limits

LINES, BYTES, CALLS = 100, 10_000, 60


@pytest.fixture
def rate_limiter() -> RateLimiter:
    return RateLimiter(Limits(lines=LINES, bytes=BYTES, calls=CALLS))


class TestABucket:
    def test_a_bucket_gives_all_at_once_and_then_one_by_one(self) -> None:
        bucket = TokenBucket(60, now=1000.0)
        assert [bucket.take(1000.0) for _ in range(61)] == [True] * 60 + [False]
        assert not bucket.take(1000.9)
        assert bucket.take(1001.0)
        assert not bucket.take(1001.0)

    def test_a_bucket_holds_no_more_than_a_minute_s_worth(self) -> None:
        bucket = TokenBucket(3, now=0.0)
        assert [bucket.take(10_000.0) for _ in range(4)] == [True, True, True, False]

    def test_a_bucket_is_full_again_when_all_its_tokens_are_back(self) -> None:
        bucket = TokenBucket(60, now=0.0)
        assert bucket.full(0.0)
        for _ in range(30):
            bucket.take(0.0)
        assert not bucket.full(29.0)
        assert bucket.full(30.0)

    @given(st.lists(st.floats(0.0, 30.0), max_size=300))
    def test_a_bucket_never_lets_through_more_than_a_minute_s_worth_and_what_came_back(
        self, pauses: list[float]
    ) -> None:
        bucket, now, taken = TokenBucket(20, now=0.0), 0.0, 0
        for pause in pauses:
            now += pause
            taken += bucket.take(now)
        assert taken <= 20 + now / 3 + 1e-6


class TestAPace:
    def test_nothing_is_owed_for_what_is_within(self, rate_limiter: RateLimiter) -> None:
        assert not rate_limiter.spend(LINES, BYTES)
        assert rate_limiter.spend(1, 1)
        assert rate_limiter.debt(50.0) == 0.0  # the first check comes after a long silence

    @pytest.mark.parametrize(("lines", "bytes"), [(LINES, 0), (0, BYTES), (LINES, BYTES), (LINES, BYTES // 2)])
    def test_a_second_s_worth_more_than_there_is_owes_a_second(
        self, lines: int, bytes: int, rate_limiter: RateLimiter
    ) -> None:
        rate_limiter.spend(LINES, BYTES)
        rate_limiter.debt(50.0)
        rate_limiter.spend(LINES, BYTES)
        assert rate_limiter.spend(lines, bytes)
        assert rate_limiter.debt(50.0) == pytest.approx(1.0)
        assert rate_limiter.debt(50.5) == pytest.approx(0.5)
        assert rate_limiter.debt(51.5) == 0.0

    def test_any_number_is_within_where_there_is_no_limit(self) -> None:
        rate_limiter = RateLimiter(Limits(lines=0, bytes=0, calls=0))
        assert not rate_limiter.spend(10**9, 10**15)
        assert rate_limiter.debt(1.0) == 0.0
        assert all(rate_limiter.may_call(1.0) for _ in range(10_000))
        assert all(rate_limiter.may_claim(1.0) for _ in range(10_000))

    def test_a_limit_may_be_set_alone(self) -> None:
        rate_limiter = RateLimiter(Limits(lines=0, bytes=BYTES))
        assert rate_limiter.spend(10**9, 3 * BYTES)
        rate_limiter.debt(1.0)
        assert rate_limiter.spend(10**9, 2 * BYTES)
        assert rate_limiter.debt(1.0) == pytest.approx(1.0)

    def test_calls_count_for_a_client_and_claims_for_its_address(self) -> None:
        address = TokenBucket(1, now=0.0)
        limits = Limits(calls=1)
        one, two = RateLimiter(limits, address), RateLimiter(limits, address)
        assert one.may_claim(0.0)
        assert not two.may_claim(0.0)
        assert one.may_call(0.0)
        assert two.may_call(0.0)
        assert not two.may_call(0.0)

    @given(st.lists(st.tuples(st.integers(1, 300), st.floats(0.0, 3.0)), max_size=100))
    def test_a_client_that_waits_as_told_says_no_more_than_the_rate_and_two_seconds_worth(
        self, reads: list[tuple[int, float]]
    ) -> None:
        rate_limiter, now, said = RateLimiter(Limits(lines=LINES, bytes=0)), 0.0, 0
        for lines, pause in reads:
            now += pause
            said += lines
            if rate_limiter.spend(lines, 0):
                now += rate_limiter.debt(now)
        assert said <= LINES * (now + 2) + 300  # one read more
