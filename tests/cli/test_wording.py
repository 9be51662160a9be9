"""The messages for people, and the exit status of each failure."""

from datetime import datetime, timedelta
from typing import get_args

import pytest
from msgspec import Struct

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
from pairchat.events import Bye, DeliveryStatus, Event, Lost, Message, Moving, Outgoing, Presence, Settled, Typing
from pairchat.wording import Exit, exit_status, moment, notice
from tests.golden.samples import samples
from tests.support.rows import each_row

# Events without a notice: a text, the answer to `/who`, the status bar, a move that nobody notices, and two ends.
SILENT = {Message, Presence, Typing, Moving, Lost, Bye}


@each_row(
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


@each_row("kind", [kind for kind in get_args(Event) if kind is not Settled], ids=lambda kind: kind.__name__)
def test_every_event_has_its_words_or_needs_none(kind: type[Struct]) -> None:
    words = [notice(event) for _, event in samples(kind) if isinstance(event, Event)]
    assert any(words) is (kind not in SILENT)


@pytest.mark.parametrize("fate", [fate for fate in DeliveryStatus if fate != DeliveryStatus.PENDING])
def test_a_text_has_words_unless_it_arrived(fate: DeliveryStatus) -> None:
    assert bool(notice(Settled(Outgoing(1, "hi", "c1", "client", 2, fate=fate)))) is (fate != DeliveryStatus.DELIVERED)


def test_a_time_is_shown_as_one_of_this_machine() -> None:
    assert moment(1795404840.1) == datetime.fromtimestamp(1795404840.1)


@each_row("at", [1e300, -1e300, 1e16, float("inf"), float("nan")])
def test_a_time_that_there_is_not_is_now(at: float) -> None:
    """A node may send any time, and the text must still be shown."""
    assert abs(moment(at) - datetime.now()) < timedelta(minutes=1)
