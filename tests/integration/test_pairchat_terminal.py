"""`pairchat` in terminals against a real cluster whose nodes are killed, stopped and started again."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.cli.children import fresh
from tests.cli.home import Home
from tests.cli.terminal import Terminal
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

Open = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[Open]:
    with ExitStack() as opened:
        yield lambda *args, at, **how: opened.enter_context(
            Terminal(*args, server=at.server, launch=partial(fresh, module="tests.cli.in_order"), **how)
        )


@pytest.fixture
def cluster(start_node: StartNode) -> tuple[Node, Node]:
    """Two nodes that keep sessions for longer than a test takes."""
    return start_node(grace=30), start_node(grace=30)


def chatting(terminal: Open, cluster: tuple[Node, Node], **how: object) -> tuple[Terminal, Terminal]:
    """Return alice on the first node, who also knows the second, in a chat with bob on the second."""
    one, two = cluster
    bob = terminal("bob", at=two)
    bob.wait_bar("nobody yet")
    alice = terminal("alice", "--to", "bob", "--server", one.server, "--server", two.server, at=one, **how)
    for screen in (alice, bob):
        screen.wait_for("* You are chatting with")
    exchange(alice, bob, "before")
    return alice, bob


def exchange(alice: Terminal, bob: Terminal, words: str) -> None:
    """Check that each sends a text, sees its acknowledgement, and sees the other's text."""
    alice.type(f"{words} from alice\r")
    bob.type(f"{words} from bob\r")
    for screen, me, you in ((alice, "alice", "bob"), (bob, "bob", "alice")):
        screen.wait_for(f"✓✓ {me:>5} │ {words} from {me}")
        screen.wait_for(f"{you:>5} │ {words} from {you}")


def once(screen: Terminal, text: str) -> bool:
    """Return whether a text is on the screen exactly once."""
    return sum(line.endswith(f"│ {text}") for line in screen.lines) == 1


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_node_ends_and_the_chat_goes_on(cluster: tuple[Node, Node], terminal: Open, end: str) -> None:
    alice, bob = chatting(terminal, cluster)
    alice.type("half a li")
    alice.wait_typed("> half a li")
    if end == "killed":
        cluster[0].kill()
    else:
        cluster[0].terminate()
    bob.type("are you there?\r")
    alice.wait_for("* Connected as alice again.")
    alice.wait_for("  bob │ are you there?")
    bob.wait_for("✓✓   bob │ are you there?")
    assert alice.typed == "> half a li"
    alice.type("ne\r")
    bob.wait_for("alice │ half a line")
    alice.wait_for("✓✓ alice │ half a line")
    alice.wait_bar(cluster[1].server)
    exchange(alice, bob, "after")
    for screen in (alice, bob):
        assert once(screen, "are you there?")
        assert once(screen, "half a line")


def test_the_partner_is_shown_away_and_back(cluster: tuple[Node, Node], terminal: Open, start_node: StartNode) -> None:
    one, two = cluster
    bob = terminal("bob", at=two)
    bob.wait_bar("nobody yet")
    alice = terminal("alice", "--to", "bob", at=one)  # she knows one node only
    bob.wait_bar("alice is here")
    one.kill()
    alice.wait_bar("connecting")
    bob.wait_bar("alice is away, ")
    start_node(grace=30, port=one.address[1])
    bob.wait_bar("alice is here")
    alice.wait_bar("bob is here")
    exchange(alice, bob, "after")


@pytest.mark.parametrize("seconds", [2.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_a_sleep_does_no_harm(cluster: tuple[Node, Node], terminal: Open, guests: Guests, seconds: float) -> None:
    """As of a laptop that is closed; what is tested is that this much time does no harm."""
    alice, bob = chatting(terminal, cluster)
    clock = guests.json(cluster[1], "clock")
    alice.signal(signal.SIGSTOP)
    bob.type("while you slept\r")
    bob.wait_for("·    bob │ while you slept")
    with pytest.raises(AssertionError, match="heard nothing"):
        clock.frame(patience=seconds)
    alice.signal(signal.SIGCONT)
    alice.wait_for("  bob │ while you slept")
    bob.wait_for("✓✓   bob │ while you slept")
    exchange(alice, bob, "after")
    assert once(alice, "while you slept")
    assert not any("lost" in line for line in alice.lines)


def test_a_killed_pairchat_goes_on_when_started_again(cluster: tuple[Node, Node], terminal: Open) -> None:
    home = Home()
    alice, bob = chatting(terminal, cluster, home=home)
    bob.signal(signal.SIGSTOP)  # alice's text gets no acknowledgement
    alice.type("last words\r")
    alice.wait_for("·  alice │ last words")
    wait_until(lambda: any("last words" in file.read_text() for file in home.sessions()), "it is kept")
    alice.signal(signal.SIGKILL)
    assert alice.status() == -signal.SIGKILL
    bob.signal(signal.SIGCONT)
    bob.wait_for("* alice is away")
    bob.type("still there?\r")
    servers = [option for node in cluster for option in ("--server", node.server)]
    alice = terminal("alice", *servers, at=cluster[0], home=home)
    alice.wait_for("* Connected as alice again.")
    alice.wait_for("✓✓ alice │ last words")  # this holds whether or not it had been sent
    alice.wait_for("  bob │ still there?")
    bob.wait_for("✓✓   bob │ still there?")
    exchange(alice, bob, "after")
    assert once(bob, "last words")
    alice.type("/quit\r")
    assert alice.status() == 0
    assert home.sessions() == []
    bob.wait_for("* alice has quit.")


def test_a_call_is_answered_and_typing_shown(cluster: tuple[Node, Node], terminal: Open) -> None:
    one, two = cluster
    bob = terminal("bob", "--ask", at=two)
    bob.wait_bar("nobody yet")
    alice = terminal("alice", "--to", "bob", at=one)
    alice.wait_for("* It rings at bob")
    bob.wait_for("* alice calls. /accept or /decline")
    bob.type("/decline\r")
    alice.wait_for("! bob did not take the call.")
    alice.type("/to bob\r")
    bob.wait(lambda lines: sum("alice calls." in line for line in lines) == 2, "the second call")
    bob.type("/accept\r")
    alice.wait_bar("bob is here")
    exchange(alice, bob, "now")
    alice.type("thinking")
    bob.wait_bar("alice is typing…")


def test_a_blocked_caller_hears_busy_also_after_the_node_died(cluster: tuple[Node, Node], terminal: Open) -> None:
    one, two = cluster
    bob = terminal("bob", "--server", two.server, "--server", one.server, at=two)
    bob.wait_bar("nobody yet")
    bob.type("/block alice\r")
    bob.wait_for("* alice can't call you any more")
    two.kill()
    bob.wait_for("* Connected as bob again.")
    alice = terminal("alice", "--to", "bob", at=one)
    alice.wait_for("! bob is talking with someone else.")
    bob.type("/unblock alice\r")
    bob.wait_for("* alice may call you again.")
    alice.type("/to bob\r")
    bob.wait_bar("alice is here")
