"""Tests that a table of cases tests each of its rows, and that a failure names those that fail."""

import inspect

import pytest

from tests.support.rows import each_row


def test_each_row_is_tried_beside_the_fixtures() -> None:
    seen = []

    @each_row("n", [1, 2])
    @each_row(("a", "b"), [("x", "y"), ("z", "")])
    def test(n: int, a: str, b: str, fixture: str) -> None:
        seen.append((n, a, b, fixture))

    test(fixture="f")
    assert seen == [(1, "x", "y", "f"), (1, "z", "", "f"), (2, "x", "y", "f"), (2, "z", "", "f")]


def test_a_failure_names_all_rows_that_fail_and_no_other() -> None:
    @each_row("n", [1, 2, 3, 4])
    def test(n: int) -> None:
        assert n % 2 == 0
        with pytest.raises(ZeroDivisionError):
            n // (n - 4)

    with pytest.raises(BaseExceptionGroup, match="3 of 4 rows failed") as group:
        test()
    assert [note for error in group.value.exceptions for note in error.__notes__] == [
        "in the row 1",
        "in the row 2",
        "in the row 3",
    ]


def test_a_single_failure_is_raised_itself() -> None:
    @each_row("n", [0, 1], ids=["none", "one"])
    def test(n: int) -> None:
        assert n == 0

    with pytest.raises(AssertionError) as error:
        test()
    assert error.value.__notes__ == ["in the row one"]


def test_rows_end_with_the_time_for_the_test() -> None:
    tried = []

    @each_row("n", [1, 2])
    def test(n: int) -> None:
        tried.append(n)
        pytest.fail("Timeout (>120.0s) from pytest-timeout.")

    with pytest.raises(pytest.fail.Exception):
        test()
    assert tried == [1]


def test_pytest_sees_only_the_fixtures(request: pytest.FixtureRequest) -> None:
    @each_row("n", [1])
    def test(n: int, tmp_path: str) -> None: ...

    assert list(inspect.signature(test).parameters) == ["tmp_path"]
