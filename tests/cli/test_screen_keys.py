"""`pairchat` in a pseudo-terminal: keys that do nothing, or something unexpected."""

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from pairchat.screen.input_line import _Names  # private: a terminal shows completions too late to tell them apart
from pairchat.screen.theme import Theme, background
from tests.cli.chatting import CTRL_C, ENTER, Open, a_text, paired, said
from tests.cli.scripted import PING, PONG, ScriptedNode
from tests.support.rows import each_row


def test_a_line_of_nothing_but_blanks_is_not_sent(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type(ENTER + "   " + ENTER + "hi" + ENTER)
    peer.expect(said(1, "hi"))


def test_enter_takes_what_was_completed_and_sends_nothing(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/\t")
    screen.wait_for("end the chat; give up")  # a menu of all commands
    screen.type("\t")
    screen.wait(lambda lines: any("> /to" in line for line in lines), "the first")
    screen.type(ENTER)
    screen.wait_typed("> /to")
    screen.type("carol" + ENTER)
    peer.expect({"type": "to", "name": "carol"}, PING)


@each_row(
    ("typed", "offered"),
    [
        ("bo", ["bob: "]),
        ("hi BO", ["bob"]),
        ("/who b", ["bob", "bea"]),
        ("/search bo", []),
        ("/wh", ["/who "]),
        ("hi ", []),
    ],
)
def test_completion_offers_what_fits_the_words_before_the_cursor(typed: str, offered: list[str]) -> None:
    found = _Names(lambda: ["bob", "bea"]).get_completions(Document(typed), CompleteEvent())
    assert sorted(one.text for one in found) == sorted(offered)


def test_waiting_for_somebody_is_given_up(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice", "--to", "bob", "--wait")
    peer = node.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say('{"type":"error","code":"no_such_user","message":"no","name":"bob"}', PONG)
    screen.wait_bar("calling bob…")
    screen.type("/leave" + ENTER)
    screen.wait_bar("nobody yet")
    screen.type("/who bob" + ENTER)
    while (heard := peer.heard_at_all()) != {"type": "who", "name": "bob"}:
        assert heard["type"] in ("to", "ping", "cancel"), "a call that was under way, at most"


def test_more_lines_than_may_wait_are_refused_and_shown(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice", "--to", "bob")
    peer = node.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    screen.wait_bar("calling bob…")
    screen.type("".join(f"line {number}{ENTER}" for number in range(101)))
    screen.wait_for("! Too much is waiting; not sent: line 100")
    peer.say('{"type":"paired","name":"bob","chat":"c1","acks":"client","resumed":false}', PONG)
    peer.expect(*[said(number + 1, f"line {number}") for number in range(100)])


def test_a_click_does_nothing_and_the_wheel_still_scrolls(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say(*[a_text(id, f"text {id}.") for id in range(1, 101)])
    screen.wait_for("text 100.")
    before = screen.lines
    screen.type("\x1b[<0;5;3M\x1b[<0;5;3mx")  # a press, a release, and a letter to wait for
    screen.wait_typed("> x")
    assert screen.lines[:-1] == before[:-1]
    screen.wheel(1)
    screen.wait_bar("scrolled back")


def test_a_window_that_grows_until_all_is_in_sight_shows_the_end(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say(*[a_text(id, f"text {id}.") for id in range(1, 31)])
    screen.wait_for("text 30.")
    screen.wheel(1)
    screen.wait_bar("scrolled back")
    screen.resize(80, 60)
    screen.wait(lambda lines: any("text 1." in line for line in lines) and "scrolled" not in screen.bar, "all of it")


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
def test_a_refusal_that_no_other_name_helps_ends_pairchat(code: str, node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice")
    peer = node.accept()
    peer.heard()
    peer.say(f'{{"type":"error","code":"{code}","message":"slow down","name":"alice"}}')
    assert screen.status() == (3 if code == "unavailable" else 4)
    assert "Your name:" not in screen.raw.decode()


@pytest.mark.parametrize(
    ("told", "theme"),
    [("15;0", Theme.DARK), ("0;15", Theme.LIGHT), ("0;default;7", Theme.LIGHT), ("0;default", Theme.AUTO)],
)
def test_a_terminal_that_tells_its_background_is_believed(
    told: str, theme: Theme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORFGBG", told)
    assert background(Theme.AUTO) is theme
    assert background(Theme.DARK) is Theme.DARK, "what was asked for comes first"


def test_a_paste_whose_end_is_lost_ends_by_itself(node: ScriptedNode, terminal: Open) -> None:
    screen, _ = paired(node, terminal)
    screen.type("\x1b[200~pasted")
    screen.wait_typed("> pasted")
    screen.type("\x1b[201~, typed")  # the end of the paste, too late
    screen.wait_typed("> pasted, typed")


def test_ctrl_c_gives_up_a_paste_that_does_not_end(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("\x1b[200~pasted")
    peer.say(a_text(1, "hi"))
    screen.wait_for("│ hi")  # the earlier input has been read by now
    screen.type(CTRL_C)
    peer.say(a_text(2, "there"))
    screen.wait_for("│ there")
    screen.type("typed")
    screen.wait_typed("> typed")
