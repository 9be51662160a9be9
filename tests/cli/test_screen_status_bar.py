"""The text of the bar about the partner, at each moment and in every width."""

import time
from typing import cast

import pytest

from pairchat import Chat
from pairchat.screen.status_bar import Partner, StatusBar
from pairchat.screen.wrap_and_fit import columns


class Online:
    """The part of a session that the bar reads."""

    name, server, online, tries, pending = "alice", "relay.example:9999", True, 0, (1, 2)


def bar(status: StatusBar, width: int = 80) -> str:
    return "".join(fragment[1] for fragment in status.bar(width))


@pytest.fixture
def status() -> StatusBar:
    return StatusBar(cast(Chat, Online()), Partner("日本"))


def test_typing_and_absence_end_by_themselves(status: StatusBar) -> None:
    now = time.monotonic()
    assert " alice │ 日本 is here " in bar(status)
    assert not status.counting
    status.partner.typing_until = now + 5
    assert "日本 is typing…" in bar(status)
    assert status.counting
    status.partner.typing_until = now - 0.1
    assert "日本 is here" in bar(status)
    status.partner.away_until = now + 12.2
    assert "日本 is away, 12 s to come back" in bar(status)
    assert status.counting
    status.partner.away_until = now - 5
    assert "日本 is away, 0 s to come back" in bar(status)
    status.partner.here("日本")
    assert "日本 is here" in bar(status)


def test_without_a_connection_nothing_is_claimed_of_the_partner(
    status: StatusBar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Online, "online", False)
    assert bar(status).startswith(" alice │ 日本  ")
    status.partner.away_until = time.monotonic() + 5
    assert bar(status).startswith(" alice │ 日本  ")


@pytest.mark.parametrize("width", [1, 5, 20, 39, 60, 80, 200])
def test_the_bar_fills_its_row_whatever_its_width(status: StatusBar, width: int) -> None:
    shown = bar(status, width)
    assert shown.endswith("●")
    if width >= 5:
        assert columns(shown) == width


def test_the_server_goes_first_where_room_is_short(status: StatusBar) -> None:
    assert "2 unacknowledged │ relay.example:9999" in bar(status)
    assert "relay" not in bar(status, 40)
    assert "日本 is here" in bar(status, 40)
