"""`pairchat` in a real pseudo-terminal, against a node that says what the test wants."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.cli.scripted import BYE, PAIRED, PING, PONG, QUIT, Peer, ScriptedNode
from tests.cli.terminal import Terminal

ENTER = "\r"
CTRL_C = "\x03"
CTRL_D = "\x04"

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(node: ScriptedNode) -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda *args, **size: opened.enter_context(Terminal(*args, server=node.address, **size))


def paired(node: ScriptedNode, terminal: Open, **size: int) -> tuple[Terminal, Peer]:
    """Alice is chatting with bob, and her prompt is there."""
    screen = terminal("alice", "--to", "bob", **size)
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    screen.wait_for("* You are chatting with bob.")
    screen.wait(lambda lines: lines[-1] == "alice>", "the prompt")
    return screen, peer


def a_text(id: int, text: str) -> str:
    return f'{{"type":"msg","id":{id},"from":"bob","chat":"c1","text":"{text}","at":1795404840.1}}'


def said(id: int, text: str) -> dict[str, object]:
    return {"type": "msg", "id": id, "text": text, "chat": "c1"}


def test_a_typed_line_is_sent_and_stands_stamped_in_the_history(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hi 日本 👋" + ENTER)
    peer.expect(said(1, "hi 日本 👋"))
    lines = screen.wait(lambda lines: lines[-1] == "alice>" and "hi" in lines[-2], "the line and a new prompt")
    assert re.match(r"\d\d:\d\d alice: hi", lines[-2])
    assert sum("hi" in line for line in lines) == 1


def test_incoming_text_does_not_tear_the_line_being_typed(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("half a lin")
    screen.wait_for("alice> half a lin")
    for id in range(1, 6):
        peer.say(a_text(id, f"text {id}"))
    lines = screen.wait(lambda lines: lines[-1] == "alice> half a lin" and "text 5" in lines[-2], "five texts above")
    assert [line[6:] for line in lines[-6:-1]] == [f"bob: text {id}" for id in range(1, 6)]
    assert sum("half a lin" in line for line in lines) == 1
    acked = 0
    while acked < 5:
        acked = peer.heard()["id"]
    screen.type("e" + ENTER)
    peer.expect(said(1, "half a line"))


def test_a_long_line_being_typed_survives_in_a_narrow_terminal(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, columns=30, rows=10)
    long = "words " * 12
    screen.type(long)
    screen.wait(lambda lines: "".join(lines).count("words") == 12, "the wrapped line")
    peer.say(a_text(1, "incoming"))
    screen.wait_for("bob: incoming")
    screen.wait(lambda lines: "".join(lines).count("words") == 12, "the wrapped line again")
    screen.type("end" + ENTER)
    while (heard := peer.heard())["type"] != "msg":
        assert heard == {"type": "ack", "id": 1, "chat": "c1"}
    assert heard == said(1, long + "end")


def test_a_hostile_text_is_shown_and_not_obeyed(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say(a_text(1, r"\u001b[2Jone\u001b]52;c;aGk=\u0007\nalice: two\u202e\u2028"))
    lines = screen.wait_for("two")
    [first] = [number for number, line in enumerate(lines) if "one" in line]
    assert lines[first][6:] == r"bob: \x1b[2Jone\x1b]52;c;aGk=\x07"
    assert lines[first + 1] == r"           alice: two\u202e\u2028"  # indented: no new speaker
    assert b"\x1b]52" not in screen.raw


def test_commands(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/leave" + ENTER)
    peer.expect({"type": "leave"})
    peer.say('{"type":"left","name":"bob","reason":"left"}')
    screen.wait_for("* The chat with bob is over.")
    screen.type("hello?" + ENTER)
    screen.wait_for("* Not sent, nobody is chatting with you: hello?")
    screen.type("/to carol" + ENTER)
    peer.expect({"type": "to", "name": "carol"}, PING)
    peer.say('{"type":"error","code":"busy","message":"no","name":"carol"}', PONG)
    screen.wait_for("* carol is talking with someone else")
    screen.type("/frobnicate" + ENTER)
    screen.wait_for("* There is no /frobnicate; nothing was sent.")
    screen.type("/help" + ENTER)
    screen.wait_for("say something that begins with a slash")
    peer.say(PAIRED % ("dave", "c2"))
    screen.wait_for("* You are chatting with dave.")
    screen.type("//etc/passwd" + ENTER)
    peer.expect({"type": "msg", "id": 1, "text": "/etc/passwd", "chat": "c2"})


@pytest.mark.parametrize("farewell", ["/quit" + ENTER, CTRL_D, CTRL_C])
def test_quitting_waits_for_the_good_bye_and_ends_well(node: ScriptedNode, terminal: Open, farewell: str) -> None:
    screen, peer = paired(node, terminal)
    screen.type(farewell)
    peer.part()
    assert screen.status() == 0


def test_ctrl_c_drops_the_line(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("nonsense")
    screen.wait_for("alice> nonsense")
    screen.type(CTRL_C)
    screen.wait(lambda lines: lines[-1] == "alice>", "an empty prompt")
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
    assert screen.status() == 128 + signal.SIGINT


def test_a_taken_name_is_asked_for_again(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice")
    first = node.accept()
    first.heard()
    first.say('{"type":"error","code":"name_taken","message":"taken","name":"alice"}')
    screen.wait_for("* the name alice is taken")
    screen.wait_for("Your name:")
    screen.type("alina" + ENTER)
    node.accept().welcome("alina")
    screen.wait_for("alina>")


def test_a_text_without_acknowledgement_is_told(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hi" + ENTER)
    peer.expect(said(1, "hi"))
    peer.say('{"type":"unconfirmed","from":1,"to":1,"reason":"lost"}', '{"type":"left","name":"bob","reason":"lost"}')
    screen.wait_for("* May not have arrived (lost): hi")
    screen.wait_for("* bob was lost.")


def test_sigterm_gives_the_name_back(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.terminate()
    peer.part()
    assert screen.status() == 128 + signal.SIGTERM
