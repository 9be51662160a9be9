"""`pairchat` in a pseudo-terminal: the beginning, the course and the end of a session."""

import signal

import pytest

from tests.cli.chatting import CTRL_C, CTRL_D, ENTER, Open, an_ack, paired, said
from tests.cli.home import Home
from tests.cli.scripted import BYE, QUIT, ScriptedNode


@pytest.mark.parametrize("farewell", ["/quit" + ENTER, CTRL_D, CTRL_C])
def test_quitting_waits_for_the_good_bye_and_ends_well(node: ScriptedNode, terminal: Open, farewell: str) -> None:
    screen, peer = paired(node, terminal)
    screen.type(farewell)
    peer.part()
    assert screen.status() == 0
    assert screen.raw.rstrip().endswith(b"\x1b[?1004l")
    assert b"\x1b[?1049l" in screen.raw
    assert screen.home.sessions() == []


def test_ctrl_c_drops_the_line(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("nonsense")
    screen.wait_typed("> nonsense")
    screen.type(CTRL_C)
    screen.wait_typed(">")
    screen.type("sense" + ENTER)
    peer.expect(said(1, "sense"))


def test_ctrl_c_gives_up_waiting_for_the_last_acknowledgement(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hi" + ENTER + "/quit" + ENTER)
    peer.expect(said(1, "hi"), QUIT)
    screen.wait_for("* Waiting until everything has arrived; Ctrl-C gives up.")
    screen.type(CTRL_C)
    assert peer.heard() in (QUIT, None)
    peer.say(BYE)
    assert screen.status() == 1
    assert screen.lines[-1] == "* May not have arrived (no acknowledgement): hi"


def test_a_name_is_asked_for_and_a_taken_one_again(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal()
    screen.wait_typed("Your name:")
    screen.type("alice" + ENTER)
    first = node.accept()
    first.heard()
    first.say('{"type":"error","code":"name_taken","message":"taken","name":"alice"}')
    screen.wait_for("! The name alice is taken.")
    screen.wait_typed("Your name:")
    screen.type("alina" + ENTER)
    peer = node.accept()
    peer.welcome("alina")
    screen.wait_bar("alina │ nobody yet")
    screen.type(CTRL_D)
    peer.part()
    assert screen.status() == 0


def test_a_lost_name_leaves_the_screen_and_asks_for_another(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hi" + ENTER)
    peer.expect(said(1, "hi"))
    peer.say('{"type":"error","code":"name_lost","message":"Your name is gone."}')
    screen.wait_for("! Your name is gone. What you said stays; take a name to go on.")
    screen.wait_for("may not have arrived (your name was lost)")
    screen.wait_typed("Your name:")
    screen.wait(lambda lines: lines[-2] == " no name yet", "no connection either")
    screen.type("alina" + ENTER)
    peer = node.accept()
    peer.welcome("alina")
    screen.wait_bar("alina │ nobody yet")
    screen.type("/to bob" + ENTER)
    peer.pair("bob", "c2")
    screen.wait_bar("bob is here")
    screen.type("/retry" + ENTER)
    peer.expect({"type": "msg", "id": 1, "text": "hi", "chat": "c2"})


def test_a_session_that_another_took_over_ends(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say('{"type":"replaced"}')
    peer.close()
    assert screen.status() == 3
    assert screen.lines[-1] == "pairchat: another connection took this session over"


def test_whoever_has_no_name_may_leave(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal()
    screen.wait_typed("Your name:")
    screen.type(CTRL_D)
    assert screen.status() == 0


def test_nobody_listening_is_one_clear_line(node: ScriptedNode, terminal: Open) -> None:
    node.stop_listening()
    screen = terminal("alice")
    assert screen.status() == 3
    assert screen.lines[-1] == f"pairchat: can't connect to {node.address}: Connection refused"
    assert not any("Traceback" in line for line in screen.lines)


def test_sigterm_gives_the_name_back_and_the_terminal_in_order(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.terminate()
    peer.part()
    assert screen.status() == 128 + signal.SIGTERM
    assert b"\x1b[?1049l" in screen.raw
    assert b"\x1b[?2004l" in screen.raw


def test_a_lost_connection_is_shown_made_again_and_what_was_typed_meanwhile_sent(
    node: ScriptedNode, terminal: Open
) -> None:
    screen, peer = paired(node, terminal)
    screen.type("one" + ENTER)
    peer.expect(said(1, "one"))
    peer.close()
    screen.wait_bar("connecting")
    screen.type("two" + ENTER + "half a li")
    screen.wait_for("·  alice │ two")
    screen.wait_bar("2 unacknowledged")
    peer = node.accept()
    peer.take_back("alice", last=0, partner="bob", sent=None)
    peer.expect(said(1, "one"), said(2, "two"))
    peer.say(an_ack(2))
    screen.wait_for("* Connected as alice again.")
    screen.wait_for("✓✓ alice │ two")
    assert screen.typed == "> half a li"
    assert sum("│ one" in line for line in screen.lines) == 1


def test_a_killed_screen_goes_on_when_it_is_started_again(node: ScriptedNode, terminal: Open) -> None:
    home = Home()
    screen, peer = paired(node, terminal, home=home)
    screen.type("one" + ENTER)
    peer.expect(said(1, "one"))
    screen.wait_for("│ one")
    screen.signal(signal.SIGKILL)
    assert screen.status() == -signal.SIGKILL
    [session] = home.sessions()
    assert session.stat().st_mode & 0o777 == 0o600
    screen = terminal("alice", home=home)
    peer = node.accept()
    peer.take_back("alice", last=0, partner="bob", sent=1)
    peer.expect(said(1, "one"))
    screen.wait_for("·  alice │ one")
    peer.say(an_ack(1))
    screen.wait_for("✓✓ alice │ one")
    screen.wait_bar("bob is here")
    screen.type(CTRL_D)
    peer.part()
    assert screen.status() == 0
    assert home.sessions() == []


def test_a_session_that_is_gone_keeps_the_text_and_the_name(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.close()
    screen.wait_bar("connecting")
    screen.type("unsent" + ENTER)
    screen.wait_for("│ unsent")
    peer = node.accept()
    assert peer.heard()["token"] == "t0"
    peer.say('{"type":"error","code":"bad_token","message":"no","name":"alice"}')
    peer.welcome("alice")
    screen.wait_for("* The relay has given alice up meanwhile; claiming the name again.")
    screen.wait_for("not sent (the chat ended first); /retry sends it again")
    screen.type("/to bob" + ENTER)
    peer.pair("bob", "c2")
    screen.wait_bar("bob is here")
    screen.type("/retry" + ENTER)
    peer.expect({"type": "msg", "id": 1, "text": "unsent", "chat": "c2"})


def test_a_command_is_no_name(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal()
    screen.wait_typed("Your name:")
    screen.type("/help" + ENTER)
    screen.wait_for("! A name first; then /help lists the commands. /quit leaves.")
    screen.type("//help" + ENTER)
    peer = node.accept()
    peer.expect({"type": "hello", "v": 1, "name": "/help", "acks": True})
    peer.say('{"type":"error","code":"name_taken","message":"no","name":"/help"}')
    screen.wait_for("! The name /help is taken.")
    screen.type("/quit" + ENTER)
    assert screen.status() == 0
