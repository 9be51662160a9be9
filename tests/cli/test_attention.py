"""The notifications that each terminal understands, and their bytes."""

from base64 import b64decode

import pytest

from pairchat.screen.attention import Notify, choose, sequence
from tests.support.rows import each_row


@each_row(
    ("environment", "chosen"),
    [
        ({"TERM": "xterm-kitty"}, Notify.OSC99),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Notify.OSC99),
        ({"TERM": "foot"}, Notify.OSC777),
        ({"TERM": "rxvt-unicode-256color"}, Notify.OSC777),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Notify.OSC777),
        ({"TERM": "xterm-ghostty"}, Notify.OSC777),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, Notify.OSC777),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Notify.OSC9),
        ({"TERM": "xterm-256color"}, Notify.OSC9),
        ({"TERM": "linux"}, Notify.BELL),
        ({}, Notify.BELL),
    ],
)
def test_the_terminal_decides_how_it_notifies(environment: dict[str, str], chosen: Notify) -> None:
    assert choose(Notify.AUTO, environment) is chosen
    assert choose(Notify.OFF, environment) is Notify.OFF


HOSTILE = "a;b\x1b]52;c;x\x07\n\u202e"


@pytest.mark.parametrize("how", [Notify.OSC9, Notify.OSC777, Notify.OSC99])
def test_nothing_gets_out_of_a_notification(how: Notify) -> None:
    made = sequence(how, HOSTILE, HOSTILE, {})
    ends = made.count("\x07") + made.count("\x1b\\")
    starts = made.count("\x1b]")
    assert starts == ends == (2 if how is Notify.OSC99 else 1)
    assert "\u202e" not in made
    assert made.count(";") == {Notify.OSC9: 7, Notify.OSC777: 6, Notify.OSC99: 4}[how]


def test_titles_and_bodies_go_in_the_way_of_kitty() -> None:
    first, second, _ = sequence(Notify.OSC99, "bob", "hé", {}).split("\x1b\\")
    assert [b64decode(part.rpartition(";")[2]).decode() for part in (first, second)] == ["bob", "hé"]


def test_tmux_hands_on_what_is_wrapped() -> None:
    assert sequence(Notify.OSC9, "bob", "hi", {"TMUX": "1"}) == "\x1bPtmux;\x1b\x1b]9;bob: hi\x07\x1b\\"
    assert sequence(Notify.BELL, "bob", "hi", {"TMUX": "1"}) == ""
