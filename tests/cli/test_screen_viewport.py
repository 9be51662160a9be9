"""`pairchat` in a pseudo-terminal: scrolling, sizes, colours, and notifications."""

import re

import pytest

from tests.cli.chatting import END, ENTER, PAGE_UP, Open, a_text, heard_up_to, paired, said
from tests.cli.scripted import ScriptedNode

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


def test_a_shell_that_gets_the_terminal_hears_nothing_of_its_focus(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal)
    before = len(screen.raw)
    screen.type("\x1a")  # Ctrl-Z; without a shell to continue it, it doesn't stop
    screen.wait(lambda _: b"\x1b[?1049h" in screen.raw[before:], "the screen again")
    told = screen.raw[before:]
    order = [told.index(sequence) for sequence in (b"\x1b[?1049l", b"\x1b[?1004l", b"\x1b[?1004h", b"\x1b[?1049h")]
    assert order == sorted(order)
    peer.say(a_text(1, "back"))
    screen.wait_for("│ back")
