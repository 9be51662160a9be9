"""`pairchat` in a real pseudo-terminal, against a node that says what the test wants."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.cli.home import Home
from tests.cli.scripted import BYE, PAIRED, PING, PONG, QUIT, WELCOME, Peer, ScriptedNode
from tests.cli.terminal import Terminal

ENTER = "\r"
ALT_ENTER = "\x1b\r"
CTRL_C = "\x03"
CTRL_D = "\x04"
PAGE_UP, PAGE_DOWN, END = "\x1b[5~", "\x1b[6~", "\x1b[F"
UP = "\x1b[A"

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(node: ScriptedNode) -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda *args, **how: opened.enter_context(Terminal(*args, **{"server": node.address, **how}))


def paired(
    node: ScriptedNode, terminal: Open, *args: str, acks: str = "client", **how: object
) -> tuple[Terminal, Peer]:
    """Alice is chatting with bob, and her prompt is there."""
    screen = terminal("alice", "--to", "bob", *args, **how)
    peer = node.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say((PAIRED % ("bob", "c1")).replace('"client"', f'"{acks}"'), PONG)
    screen.wait_for("* You are chatting with bob.")
    screen.wait(lambda lines: lines[-1].endswith(">"), "the prompt")
    return screen, peer


def a_text(id: int, text: str, sender: str = "bob", at: float = 1795404840.1) -> str:
    return f'{{"type":"msg","id":{id},"from":"{sender}","chat":"c1","text":"{text}","at":{at}}}'


def said(id: int, text: str) -> dict[str, object]:
    return {"type": "msg", "id": id, "text": text, "chat": "c1"}


def an_ack(id: int) -> str:
    return f'{{"type":"ack","id":{id},"chat":"c1"}}'


def heard_up_to(peer: Peer, id: int) -> None:
    """The client has acknowledged up to this id."""
    while (heard := peer.heard()) != {"type": "ack", "id": id, "chat": "c1"}:
        assert heard["type"] == "ack", heard


# --- what is said


@pytest.mark.parametrize(("acks", "sign"), [("client", "✓✓"), ("node", "✓")])
def test_a_tick_changes_in_place_and_tells_who_has_the_text(
    node: ScriptedNode, terminal: Open, acks: str, sign: str
) -> None:
    screen, peer = paired(node, terminal, acks=acks)
    screen.type("hi 日本 👋" + ENTER)
    peer.expect(said(1, "hi 日本 👋"))
    screen.wait(lambda lines: any(re.match(r"\d\d:\d\d ·  alice │ hi 日本 👋$", line) for line in lines), "on its way")
    screen.wait_bar("1 unacknowledged")
    before = len(screen.lines)
    peer.say(an_ack(1))
    pattern = rf"\d\d:\d\d {sign:<2} alice │ hi 日本 👋$"
    screen.wait(lambda lines: any(re.match(pattern, line) for line in lines), "delivered")
    screen.wait(lambda _: "unacknowledged" not in screen.bar, "nothing unacknowledged")
    assert len(screen.lines) == before
    assert sum("hi 日本" in line for line in screen.lines) == 1


def test_a_text_without_acknowledgement_is_red_with_its_reason_and_goes_again_on_request(
    node: ScriptedNode, terminal: Open
) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hi" + ENTER)
    peer.expect(said(1, "hi"))
    peer.say('{"type":"unconfirmed","from":1,"to":1,"reason":"lost"}', '{"type":"left","name":"bob","reason":"lost"}')
    screen.wait_for("✗  alice │ hi")
    screen.wait_for("may not have arrived (the partner was lost); /retry")
    assert screen.colour("may not have") not in ("default", screen.colour("You are alice"))
    peer.say(PAIRED % ("bob", "c2"))
    screen.wait_bar("bob is here")
    screen.type("/retry" + ENTER)
    peer.expect({"type": "msg", "id": 2, "text": "hi", "chat": "c2"})
    peer.say('{"type":"ack","id":2,"chat":"c2"}')
    screen.wait_for("✓✓ alice │ hi")
    screen.wait_for("sent again")
    screen.type("/retry" + ENTER)
    screen.wait_for("Nothing to send again to bob.")


def test_nothing_is_sent_again_to_somebody_else(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("for bob" + ENTER)
    peer.expect(said(1, "for bob"))
    peer.say('{"type":"unconfirmed","from":1,"to":1,"reason":"quit"}', '{"type":"left","name":"bob","reason":"quit"}')
    peer.say(PAIRED % ("carol", "c2"))
    screen.wait_bar("carol is here")
    screen.type("/retry" + ENTER)
    screen.wait_for("Nothing to send again to carol.")


def test_several_lines_in_one_text(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("one" + ALT_ENTER + "two" + ENTER)
    peer.expect(said(1, "one\ntwo"))
    lines = screen.wait_for("│ two")
    assert lines[-3] == "               │ two"


def test_a_paste_of_several_lines_is_asked_about_and_sends_nothing_by_itself(
    node: ScriptedNode, terminal: Open
) -> None:
    screen, peer = paired(node, terminal)
    screen.paste("rm -rf a\nrm -rf b\n")
    screen.wait_for("Paste 2 lines (18 characters, “rm -rf a…”) as one text? y: yes  n: no")
    screen.type("x" + ENTER + "n")
    screen.wait(lambda lines: lines[-1].endswith(">") and "Paste" not in "".join(lines), "the question gone")
    screen.paste("one line")
    screen.wait_typed("> one line")
    screen.type(CTRL_C)
    screen.paste("one\ntwo")
    screen.wait_for("Paste 2 lines")
    screen.type("y")
    screen.wait_typed("  two")
    screen.type(ENTER)
    peer.expect(said(1, "one\ntwo"))


def test_what_was_typed_before_comes_back(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hello" + ENTER)
    peer.expect(said(1, "hello"))
    screen.type(UP)
    screen.wait_typed("> hello")
    screen.type("\x01" + "oh, " + ENTER)  # Ctrl-A: to the beginning
    peer.expect(said(2, "oh, hello"))


# --- what comes in


def test_incoming_text_does_not_disturb_the_line_being_typed(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("half a lin")
    screen.wait_typed("> half a lin")
    for id in range(1, 6):
        peer.say(a_text(id, f"text {id}"))
    lines = screen.wait(lambda lines: "text 5" in lines[-3] and lines[-1] == "> half a lin", "five texts above")
    assert [line.partition("│ ")[2] for line in lines[-7:-2]] == [f"text {id}" for id in range(1, 6)]
    assert sum("half a lin" in line for line in lines) == 1
    heard_up_to(peer, 5)
    screen.type("e" + ENTER)
    peer.expect(said(1, "half a line"))


def typed(lines: list[str]) -> str:
    """What stands in several rows of the input, joined."""
    return "".join(line[2:].ljust(32) for line in lines[-6:] if line.startswith(("> ", "  ")))


def test_a_long_line_being_typed_survives_in_a_narrow_terminal(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, columns=34, rows=12)
    long = "words " * 12
    screen.type(long)
    screen.wait(lambda lines: typed(lines).count("words") == 12, "the wrapped line")
    peer.say(a_text(1, "incoming"))
    screen.wait_for("incoming")
    screen.wait(lambda lines: typed(lines).count("words") == 12, "the wrapped line again")
    screen.type("end" + ENTER)
    heard_up_to(peer, 1)
    peer.expect(said(1, long + "end"))


HOSTILE = (
    r"\u001b[2J|\u001b]52;c;aGk=\u0007|\u001bP1$r\u001b\\|\u009b31m|\u009d0;x\u009c|\u202e\u2066\u200f"
    r"|\u2028\u2029|\r|\u007f"
)
SHOWN = r"\x1b[2J|\x1b]52;c;aGk=\x07|\x1bP1$r\x1b\|\x9b31m|\x9d0;x\x9c|\u202e\u2066\u200f|\u2028\u2029|\x0d|\x7f"


def test_a_hostile_text_is_shown_and_not_obeyed(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, columns=160)
    peer.say(a_text(1, HOSTILE + r"\nalice: two"))
    lines = screen.wait_for("two")
    [first] = [number for number, line in enumerate(lines) if "[2J" in line]
    assert lines[first].partition("│ ")[2] == SHOWN
    assert lines[first + 1] == "               │ alice: two"  # indented: no new speaker
    for sequence in (b"\x1b]52", b"\x1bP", b"\x9b", b"\x1b[2J|"):
        assert sequence not in screen.raw.replace("\u2009".encode(), b"")


def test_a_hostile_name_is_shown_and_not_obeyed(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice")
    peer = node.accept()
    peer.welcome("alice")
    screen.wait_bar("nobody yet")
    peer.say((PAIRED % (r"b\u001b[2J\u202eob", "c1")), a_text(1, "hi", r"b\u001b[2J\u202eob"))
    screen.wait_for(r"* You are chatting with b\x1b[2J\u202eob.")
    screen.wait_for(r"b\x1b[2J\u202eob │ hi")
    assert "\u202e".encode() not in screen.raw
    screen.wait_bar(r"b\x1b[2J\u202eob is here")


@pytest.mark.parametrize(
    ("name", "shown"), [("日本", "日本"), ("שלום", "שלום"), ("e\u0301ve", "e\u0301ve"), ("ＡＢＣ", "ＡＢＣ")]
)
def test_names_of_all_widths_leave_the_columns_straight(
    node: ScriptedNode, terminal: Open, name: str, shown: str
) -> None:
    screen, peer = paired(node, terminal)
    peer.say(a_text(1, "one", name), a_text(2, "two 日本 👨‍👩‍👧 ❤️ 🇩🇪 e\u0301 end", name))
    heard_up_to(peer, 2)
    screen.type("three" + ENTER)
    screen.wait_for("│ three")
    rows = [line for line in screen.lines if "│ one" in line or "│ two" in line or "│ three" in line]
    assert len(rows) == 3
    assert len({cells(row[: row.index("│")]) for row in rows}) == 1, rows
    assert rows[1].endswith("two 日本 👨👩👧 ❤ [DE] é end".replace("é", "e\u0301")) or rows[1].endswith("[DE] é end")


def cells(text: str) -> int:
    from wcwidth import wcswidth

    return int(wcswidth(text))


def test_days_are_told_apart(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    day = 24 * 3600
    peer.say(a_text(1, "yesterday", at=1795404840), a_text(2, "today", at=1795404840 + day))
    lines = screen.wait_for("│ today")
    [first] = [number for number, line in enumerate(lines) if "│ yesterday" in line]
    assert re.fullmatch(r"─+ Monday, 23 November 2026 ─+", lines[first - 1])
    assert re.fullmatch(r"─+ Tuesday, 24 November 2026 ─+", lines[first + 1])


# --- scrolling, sizes, colours


def test_scrolling_back_keeps_its_place_and_tells_of_what_comes_in(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say(*[a_text(id, f"text {id}.") for id in range(1, 101)])
    screen.wait_for("text 100.")
    screen.type(PAGE_UP + PAGE_UP)
    lines = screen.wait(lambda lines: any("text 50." in line for line in lines), "older texts")
    screen.wait_bar("scrolled back")
    shown = [line for line in lines if "text" in line]
    peer.say(a_text(101, "the newest"))
    screen.wait_bar("1 new")
    assert [line for line in screen.lines if "text" in line] == shown
    screen.type(END)
    screen.wait_for("the newest")
    assert any(re.fullmatch(r"─+ new messages ─+", line) for line in screen.lines)
    screen.type("seen" + ENTER)
    screen.wait(lambda lines: not any("new messages" in line for line in lines), "no line any more")
    screen.wheel(3)
    screen.wait(
        lambda lines: not any("the newest" in line for line in lines[:-12]) and "scrolled" in screen.bar, "back"
    )
    screen.wheel(-5)
    screen.wait(lambda _: "scrolled" not in screen.bar, "the end")


@pytest.mark.parametrize("size", [(200, 50), (40, 10), (20, 5), (9, 3)])
def test_a_resize_draws_everything_anew(node: ScriptedNode, terminal: Open, size: tuple[int, int]) -> None:
    screen, peer = paired(node, terminal)
    peer.say(*[a_text(id, f"{id} " + "long " * 40) for id in range(1, 31)], a_text(31, "last"))
    screen.wait_for("│ last")
    screen.type("typing")
    screen.wait_typed("> typing")
    screen.resize(*size)
    screen.wait(lambda lines: any("last" in line for line in lines) and "typing" in "".join(lines[-2:]), "both again")
    screen.resize(80, 24)
    screen.wait(lambda lines: lines[-1:] == ["> typing"] and lines[-3].endswith("│ last"), "as before")
    screen.type(ENTER)
    heard_up_to(peer, 31)
    peer.expect(said(1, "typing"))


def test_names_have_colours_of_their_own_and_none_without_colours(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    peer.say(a_text(1, "hi"))
    screen.type("hello" + ENTER)
    screen.wait_for("│ hello")
    screen.wait_for("│ hi")
    colours = {screen.colour("bob │"), screen.colour("alice │")}
    assert len(colours) == 2
    assert "default" not in colours


def test_no_color_is_heeded(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, NO_COLOR="1")
    peer.say(a_text(1, "hi"))
    screen.wait_for("│ hi")
    assert screen.colour("bob │") == "default"
    assert not re.search(rb"\x1b\[[0-9;]*(?<=[\[;])(3[0-8]|4[0-8]|9[0-7])[;m]", screen.raw)


# --- attention


def test_a_text_that_nobody_sees_rings_and_stands_below_a_line(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, "--notify", "osc777")
    assert b"\x1b[?1004h" in screen.raw
    peer.say(a_text(1, "seen"))
    screen.wait_for("│ seen")
    assert b"\a" not in screen.raw
    screen.focus(False)
    screen.type("x")
    screen.wait_typed("> x")
    peer.say(a_text(2, r"un\u001b]seen;"), a_text(3, "another"))
    lines = screen.wait_for("│ another")
    assert b"\a\x1b]777;notify;bob;un\\x1b]seen;\a" in screen.raw
    assert [line.strip("─ ") for line in lines if "new messages" in line] == ["new messages"]
    screen.focus(True)
    count = screen.raw.count(b"\a")
    screen.type("y")
    screen.wait_typed("> xy")
    peer.say(a_text(4, "seen again"))
    screen.wait_for("│ seen again")
    assert screen.raw.count(b"\a") == count


# --- commands


def test_commands(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/leave" + ENTER)
    peer.expect({"type": "leave"})
    peer.say('{"type":"left","name":"bob","reason":"left"}')
    screen.wait_for("* The chat with bob is over.")
    screen.wait_bar("nobody yet")
    screen.type("hello?" + ENTER)
    screen.wait_for("! Not sent, nobody is chatting with you: hello?")
    screen.type("/to carol" + ENTER)
    peer.expect({"type": "to", "name": "carol"}, PING)
    screen.wait_bar("calling carol…")
    peer.say('{"type":"error","code":"busy","message":"no","name":"carol"}', PONG)
    screen.wait_for("! Carol is talking with someone else.")
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
    screen.wait_for("* You are chatting with dave.")
    screen.type("//etc/passwd" + ENTER)
    peer.expect({"type": "msg", "id": 1, "text": "/etc/passwd", "chat": "c2"})
    screen.type("/clear" + ENTER)
    screen.wait(lambda lines: not any("dave." in line for line in lines), "an empty screen")
    screen.wait_for("│ /etc/passwd")  # without its fate it stays
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
    screen.wait_for("end the chat; give up")  # a menu of all of them
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


def test_frames_are_shown_without_the_token(node: ScriptedNode, terminal: Open) -> None:
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
    assert peer.heard_at_all() == {"type": "typing", "chat": "c1"}  # and nothing of the command
    screen.type(" again" + ENTER)
    assert peer.heard_at_all() == said(1, "hello again")  # and typing was told once


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
    screen.wait_bar("bob is here")


def test_who_is_to_be_called_may_be_waited_for(node: ScriptedNode, terminal: Open) -> None:
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
    screen.wait_for("! Bob did not take the call.")
    screen.wait_bar("nobody yet")


def test_somebody_is_blocked(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("/block bob" + ENTER)
    peer.expect({"type": "block", "name": "bob"})
    peer.say('{"type":"blocked","name":"bob"}')
    peer.expect({"type": "leave"})
    peer.say('{"type":"left","name":"bob","reason":"left"}')
    screen.wait_for("* bob can't call you any more, as long as you stay.")
    screen.wait_for("* The chat with bob is over.")
    screen.type("/unblock bob" + ENTER)
    peer.expect({"type": "unblock", "name": "bob"})
    peer.say('{"type":"unblocked","name":"bob"}')
    screen.wait_for("* bob may call you again.")


# --- the beginning and the end


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


def test_a_killed_one_goes_on_when_it_is_started_again(node: ScriptedNode, terminal: Open) -> None:
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
