"""`pairchat` in a pseudo-terminal: texts in both directions."""

import re

import pytest

from tests.cli.chatting import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_R,
    ENTER,
    UP,
    Open,
    a_text,
    an_ack,
    heard_up_to,
    paired,
    said,
)
from tests.cli.scripted import PAIRED, ScriptedNode

# --- sent texts


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
    screen.wait_bar("nobody yet")  # the chat is over here, too: "bob is here" is about the next one
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
    screen.wait_for("Paste 2 lines (17 characters, “rm -rf a…”) as one text? y: yes  n: no")
    screen.type("x" + ENTER + "n")
    screen.wait(lambda lines: lines[-1].endswith(">") and "Paste" not in "".join(lines), "the question gone")
    screen.paste("one line")
    screen.wait_typed("> one line")
    screen.type(CTRL_C)
    screen.paste("one\r\ntwo\n")
    screen.wait_for("Paste 2 lines (7 characters, “one…”)")
    screen.type("y")
    screen.wait_typed("  two")
    screen.type(ENTER)
    peer.expect(said(1, "one\ntwo"))


def test_an_earlier_input_comes_back_with_the_up_key(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    screen.type("hello" + ENTER)
    peer.expect(said(1, "hello"))
    screen.type(UP)
    screen.wait_typed("> hello")
    screen.type("\x01" + "oh, " + ENTER)  # Ctrl-A: to the beginning
    peer.expect(said(2, "oh, hello"))


def test_earlier_inputs_can_be_searched(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    for id, text in enumerate(["a needle", "hay", "more hay"], 1):
        screen.type(text + ENTER)
        peer.expect(said(id, text))
    screen.type(CTRL_R)
    screen.wait_for("typed before:")  # earlier input is loaded once the line was drawn
    screen.type("nee")
    screen.wait_for("typed before: nee")
    screen.wait_typed("> a needle")
    screen.type(CTRL_D + CTRL_C)  # this ends the search, and nothing else
    screen.wait(lambda lines: lines[-1] == ">" and "typed before" not in lines[-2], "an empty line")
    screen.type(CTRL_R + "nee" + ENTER)
    screen.wait(lambda lines: lines[-1] == "> a needle" and "typed before" not in lines[-2], "the line")
    screen.type(ENTER)
    peer.expect(said(4, "a needle"))


# --- received texts


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
    """Return the text in several rows of the input, joined."""
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
    assert lines[first + 1] == "               │ alice: two"  # it is indented, because the speaker is the same
    for sequence in (b"\x1b]52", b"\x1bP", b"\x9b", b"\x1b[2J|"):
        assert sequence not in screen.raw.replace("\u2009".encode(), b"")


def test_a_hostile_name_is_shown_and_not_obeyed(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice")
    peer = node.accept()
    peer.welcome("alice")
    screen.wait_bar("nobody yet")
    peer.say((PAIRED % (r"b\u001b[2J\u202eob", "c1")), a_text(1, "hi", r"b\u001b[2J\u202eob"))
    screen.wait_for(r"* You are chatting with b\x1b[2J\u202eob, who called.")
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
