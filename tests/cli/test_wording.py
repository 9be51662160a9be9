"""The messages for people, and the exit status of each failure."""

from datetime import datetime, timedelta

import pytest

from pairchat.errors import (
    BadServer,
    BadSettings,
    ConnectionFailed,
    ConnectionLost,
    NameLost,
    NotARelay,
    NotConfirmed,
    PairchatError,
    Refused,
)
from pairchat.wording import Exit, exit_status, moment


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadServer("x"), Exit.USAGE),
        (BadSettings("x"), Exit.USAGE),
        (ConnectionFailed("x"), Exit.CONNECTION),
        (ConnectionLost("x"), Exit.CONNECTION),
        (NotARelay("x"), Exit.CONNECTION),
        (Refused("unavailable", ""), Exit.CONNECTION),
        (Refused("name_taken", ""), Exit.NAME),
        (NameLost("x"), Exit.NAME),
        (NotConfirmed("lost"), Exit.NOT_CONFIRMED),
    ],
)
def test_every_error_has_its_status(error: PairchatError, status: Exit) -> None:
    assert exit_status(error) is status


def test_a_time_is_shown_as_one_of_this_machine() -> None:
    assert moment(1795404840.1) == datetime.fromtimestamp(1795404840.1)


@pytest.mark.parametrize("at", [1e300, -1e300, 1e16, float("inf"), float("nan")])
def test_a_time_that_there_is_not_is_now(at: float) -> None:
    """A node may send any time, and the text must still be shown."""
    assert abs(moment(at) - datetime.now()) < timedelta(minutes=1)
