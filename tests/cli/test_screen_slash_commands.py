"""`pairchat` in a pseudo-terminal: its commands."""

import os
import re

import pytest

from pairchat.screen import _TOKEN  # private: the pattern itself is what is tested
from tests.cli.chatting import CTRL_C, CTRL_D, END, ENTER, Open, a_text, heard_up_to, paired, said
from tests.cli.scripted import PAIRED, PING, PONG, WELCOME, ScriptedNode


def test_commands_do_what_they_say(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/leave" + ENTER)
    peer.expect({"type": "leave", "chat": "c1"})
    peer.say('{"type":"left","name":"bob","reason":"left"}')
    screen.wait_for("* The chat with bob is over.")
    screen.wait_bar("nobody yet")
    screen.type("hello?" + ENTER)
    screen.wait_for("! Not sent, nobody is chatting with you: hello?")
    screen.type("/to carol" + ENTER)
    peer.expect({"type": "to", "name": "carol"}, PING)
    screen.wait_bar("calling carol…")
    peer.say('{"type":"error","code":"busy","message":"no","name":"carol"}', PONG)
    screen.wait_for("! carol is talking with someone else.")
    screen.type("/who dave" + ENTER)
    peer.expect({"type": "who", "name": "dave"})
    peer.say('{"type":"presence","name":"dave","state":"free"}')
    screen.wait_for("* dave is there, and free.")
    screen.type("/frobnicate" + ENTER + "/quti" + ENTER + "/to" + ENTER + "/leave now" + ENTER)
    screen.wait_for("! There is no /frobnicate; nothing was sent.")
    screen.wait_for("There is no /quti; nothing was sent. Did you mean /quit?")
    screen.wait_for("/to needs a name: /to NAME")
    screen.wait_for("/leave takes nothing behind it; nothing was done.")
    peer.say(PAIRED % ("dave", "c2"))
    screen.wait_for("* You are chatting with dave, who called. /block dave ends it for good.")
    screen.type("//etc/passwd" + ENTER)
    peer.expect({"type": "msg", "id": 1, "text": "/etc/passwd", "chat": "c2"})
    screen.type("/clear" + ENTER)
    screen.wait(lambda lines: not any("dave." in line for line in lines), "an empty screen")
    screen.wait_for("│ /etc/passwd")  # a text without an outcome stays
    screen.type("/help" + ENTER)
    screen.wait_for("say something that begins with a slash")


def test_tab_completes_commands_and_names(node: ScriptedNode, terminal: Open) -> None:
    screen, _ = paired(node, terminal)
    screen.type("/wh\t")
    screen.wait_typed("> /who")
    screen.type("b\t")
    screen.wait_typed("> /who bob")
    screen.type(CTRL_C + "bo\t")
    screen.wait_typed("> bob:")
    screen.type(CTRL_C + "/\t")
    screen.wait_for("end the chat; give up")  # a menu of all commands
    screen.type("\t")
    screen.wait(lambda lines: any("> /to" in line for line in lines), "the first")


def test_searching_goes_backwards_through_what_was_said(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say(*[a_text(id, f"needle {id}" if id in (7, 70) else f"hay {id}") for id in range(1, 101)])
    screen.wait_for("hay 100")
    screen.type("/search NEEDLE" + ENTER)
    screen.wait_for("needle 70")
    screen.type("/search" + ENTER)
    screen.wait(lambda lines: any(line.endswith("needle 7") for line in lines), "the one before")
    screen.type("/search" + ENTER)
    screen.type(END)
    screen.wait_for("! Nothing further back: NEEDLE")
    screen.type("/help" + ENTER + "/search wheel" + ENTER)
    screen.wait_for("! Nothing found: wheel")


def test_the_log_is_a_file_of_its_owner(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    log = screen.home.path / "log.txt"
    screen.type("/log ~/log.txt" + ENTER)
    screen.wait_for("* All that is said is appended to ")
    peer.say(a_text(1, r"hi\nthere\u001b"))
    screen.wait_for("│ hi")
    screen.type("hello" + ENTER)
    screen.wait_for("│ hello")
    screen.type("/log" + ENTER)
    screen.wait_for("* Nothing is logged to ")
    screen.type("more" + ENTER)
    screen.wait_for("│ more")
    assert log.stat().st_mode & 0o777 == 0o600
    written = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in log.read_text().splitlines()]
    assert written[1:] == ["bob: hi", r"    there\x1b", "alice: hello"]
    assert "All that is said" in written[0]
    screen.type("/log /nowhere/log.txt" + ENTER)
    screen.wait_for("! Can't write /nowhere/log.txt: No such file or directory")


def test_frames_are_shown_without_what_is_secret(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/raw" + ENTER)
    screen.wait_for("* Frames are shown")
    peer.say(a_text(1, "hi"))
    screen.wait_for('< {"type":"msg","id":1,"from":"bob"')
    screen.wait_for('> {"type":"ack","id":1,"chat":"c1"}')
    peer.close()
    node.accept().take_back("alice", last=1, partner="bob")
    screen.wait_for('"token":"…"')
    screen.wait_for('> {"type":"ack","id":1,"chat":"c1"}')
    assert "t0" not in "".join(screen.lines)


def test_the_proof_of_the_name_is_not_shown_either() -> None:
    line = '{"type":"hello","name":"alice","token":"t0","auth":"p0"}'
    assert _TOKEN.sub("…", line) == '{"type":"hello","name":"alice","token":"…","auth":"…"}'


def test_typing_is_shown_and_told(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say('{"type":"typing","name":"bob","chat":"c1"}')
    screen.wait_bar("bob is typing…")
    peer.say(a_text(1, "hi"))
    screen.wait_bar("bob is here")
    heard_up_to(peer, 1)
    screen.type("/wh")
    screen.wait_typed("> /wh")
    screen.type(CTRL_C + "hello")
    assert peer.heard_at_all() == {"type": "typing", "chat": "c1"}  # no line of the command is sent
    screen.type(" again" + ENTER)
    assert peer.heard_at_all() == said(1, "hello again")  # typing was reported once


def test_typing_need_not_be_told(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, "--no-typing")
    screen.type("hello" + ENTER)
    assert peer.heard_at_all() == said(1, "hello")


def test_a_call_is_accepted_declined_or_missed(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice", "--ask")
    peer = node.accept()
    peer.expect({"type": "hello", "v": 1, "name": "alice", "acks": True, "ask": True})
    peer.say(WELCOME % ("alice", 256, 1_048_576, 30))
    screen.wait_bar("nobody yet")
    invited = '{"type":"invited","name":"bob","chat":"%s","wait":30}'
    peer.say(invited % "c0")
    screen.wait_for("* bob calls. /accept or /decline, within 30 s.")
    screen.type("/decline" + ENTER)
    peer.expect({"type": "decline", "chat": "c0"})
    screen.type("/accept" + ENTER)
    screen.wait_for("! Nobody is calling.")
    peer.say(invited % "c1", '{"type":"missed","name":"bob","chat":"c1"}')
    screen.wait_for("* bob does not call any more.")
    peer.say(invited % "c2")
    screen.wait(lambda lines: sum("bob calls." in line for line in lines) == 3, "the third call")
    screen.type("/accept" + ENTER)
    peer.expect({"type": "accept", "chat": "c2"})
    peer.say(PAIRED % ("bob", "c2"))
    screen.wait_for("* You are chatting with bob.")


def test_pairchat_may_wait_for_the_partner_that_it_calls(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice", "--to", "bob", "--wait")
    peer = node.accept()
    peer.welcome("alice")
    for code in ("no_such_user", "busy"):
        peer.expect({"type": "to", "name": "bob"}, PING)
        peer.say(f'{{"type":"error","code":"{code}","message":"no","name":"bob"}}', PONG)
        screen.wait_bar("calling bob…")
    peer.pair("bob")
    screen.wait_bar("bob is here")


def test_a_call_that_rings_is_given_up(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice", "--to", "bob")
    peer = node.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say('{"type":"ringing","name":"bob","wait":30}', PONG)
    screen.wait_for("* It rings at bob, for 30 s at most.")
    screen.wait_bar("calling bob…")
    screen.type("/leave" + ENTER)
    peer.expect({"type": "cancel"})
    peer.say('{"type":"error","code":"declined","message":"no","name":"bob"}')
    screen.wait_for("! bob did not take the call.")
    screen.wait_bar("nobody yet")


def test_somebody_is_blocked(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/block bob" + ENTER)
    peer.expect({"type": "block", "name": "bob"})
    peer.say('{"type":"blocked","name":"bob"}')
    peer.expect({"type": "leave", "chat": "c1"})
    peer.say('{"type":"left","name":"bob","reason":"left"}')
    screen.wait_for("* bob can't call you any more, as long as you stay.")
    screen.wait_for("* The chat with bob is over.")
    screen.type("/unblock bob" + ENTER)
    peer.expect({"type": "unblock", "name": "bob"})
    peer.say('{"type":"unblocked","name":"bob"}')
    screen.wait_for("* bob may call you again.")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("~nobody-of-that-name/log.txt", "Could not determine home"),
        ("fifo", "No such device or address"),
        ("/", "Is a directory"),
    ],
)
def test_a_log_that_cannot_be_is_refused(node: ScriptedNode, terminal: Open, name: str, why: str) -> None:
    screen, _ = paired(node, terminal)
    os.mkfifo(screen.home.path / "fifo")  # it has no reader
    name = name if name.startswith(("~", "/")) else str(screen.home.path / name)
    screen.type(f"/log {name}" + ENTER)
    screen.wait(lambda lines: why in "".join(lines), why)


def test_a_log_that_finds_no_room_ends_and_nothing_else_does(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/log /dev/full" + ENTER)
    screen.wait_for("! Nothing is logged any more: No space left on device")
    peer.say(a_text(1, "still here"))
    screen.wait_for("│ still here")
    screen.type("/log" + ENTER)
    screen.wait_for("* Log to what? /log FILE")
    screen.type(CTRL_D)
    heard_up_to(peer, 1)
    peer.part()
    assert screen.status() == 0
