"""The programs of docs/library.md and the README work as described, on real nodes. Each is found by its heading."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import StartNode
from tests.support.certificates import Authority
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import Process, wait_until
from tests.support.tokens import Issuer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "library.md", ROOT / "README.md"]
MESSAGES = 1000
STARTED = 30.0  # seconds; a program starts within a second on a quiet machine

Start = Callable[..., Process]
_run = set[tuple[str, int]]()


def programs() -> dict[str, list[str]]:
    """Return the programs by heading."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = {section.splitlines()[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL) for section in sections}
    return {heading: blocks for heading, blocks in found.items() if blocks}


@pytest.fixture
def start(tmp_path: Path, nodes: list[Node]) -> Iterator[Start]:
    """Starts a program of the page, on the first node unless the test names another one."""
    started: list[Process] = []

    def start(heading: str, *arguments: str | Path, number: int = 0, at: Node = nodes[0]) -> Process:
        _run.add((heading, number))
        text = programs()[heading][number].replace("localhost", "127.0.0.1").replace("9999", str(at.address[1]))
        file = tmp_path / "program.py"
        file.write_text(text, encoding="utf-8")
        log = tmp_path / f"program{len(started)}.log"
        started.append(Process([sys.executable, "-u", str(file), *map(str, arguments)], log))
        return started[-1]

    yield start
    for process in started:
        print(process.text())
        process.kill()


@pytest.fixture
def bob(nodes: list[Node], guests: Guests) -> JsonClient:
    """A program that acknowledges by itself, on the second node."""
    return guests.json(nodes[1], "bob", acks=True)


@pytest.mark.parametrize(
    ("heading", "told"), [("Say something", "delivered by his client"), ("Talk to it", "delivered to bob's client")]
)
def test_a_program_that_says_something_learns_that_it_has_arrived(
    start: Start, bob: JsonClient, heading: str, told: str
) -> None:
    alice = start(heading)
    bob.expect("paired", STARTED, name="alice")
    bob.expect("msg", id=1, text="hi")
    bob.send("ack", id=1)
    assert alice.wait(STARTED) == 0
    assert alice.text() == f"{told}\n"


def test_an_echo_answers_what_it_hears(start: Start, bob: JsonClient) -> None:
    start("Hear something")
    wait_until(lambda: bob.who("echo") == "free", "the echo is there", STARTED)
    bob.call("echo")
    bob.send("msg", id=1, text="hé")
    bob.expect("msg", text="hé")
    bob.expect("ack", id=1)  # the loop has asked for the next event
    bob.send("ack", id=1)


def test_a_loop_that_ends_at_a_message_acknowledges_it(start: Start, bob: JsonClient) -> None:
    once = start("Hear something", number=1)
    wait_until(lambda: bob.who("once") == "free", "the program is there", STARTED)
    bob.call("once")
    bob.send("msg", id=1, text="hi")
    bob.expect("ack", id=1)
    assert once.wait(STARTED) == 0
    assert once.text() == "bob: hi\n"


def test_more_messages_than_a_window_have_a_receipt_each(start: Start, bob: JsonClient) -> None:
    alice = start("What became of it")
    bob.expect("paired", STARTED, name="alice")
    for number in range(MESSAGES):
        bob.expect("msg", text=f"line {number}")
        bob.send("ack", id=number + 1)
    assert alice.wait(STARTED) == 0
    assert alice.text() == f"{MESSAGES} of {MESSAGES} arrived\n"


def test_receipts_are_settled_when_the_partner_leaves(start: Start, bob: JsonClient) -> None:
    alice = start("What became of it")
    bob.expect("paired", STARTED, name="alice")
    bob.expect("msg", id=1)
    bob.send("ack", id=1)
    bob.send("quit")
    bob.rest()
    assert alice.wait(STARTED) != 0, "the rest of the thousand has nobody to go to"
    assert "nobody is chatting" in alice.text()


def test_a_program_that_is_told_to_end_gives_its_name_back(start: Start, nodes: list[Node], bob: JsonClient) -> None:
    wait_until(lambda: bob.who("alice") == "offline", "the name isn't that of an earlier program any more", STARTED)
    alice = start("End by a signal")
    wait_until(lambda: bob.who("alice") == "free", "alice is there", STARTED)
    bob.call("alice")
    bob.send("msg", id=1, text="hi")
    bob.expect("ack", STARTED, id=1)
    alice.terminate()
    bob.expect("left", STARTED, name="alice", reason="quit")
    assert alice.wait(STARTED) == 0
    assert bob.who("alice") == "offline", "the name was free before the program heard of its end"


def test_a_refusal_is_waited_out(start: Start, nodes: list[Node], guests: Guests) -> None:
    alice = start("When the answer is no")
    alice.wait_for_line("not yet: no_such_user", STARTED)
    bob = guests.text(nodes[1], "bob")
    bob.expect_notice("alice")
    bob.expect_message("alice", "at last")
    assert alice.wait(STARTED) == 0


def test_no_relay_is_one_line(start: Start, start_node: StartNode) -> None:
    gone = start_node()
    gone.kill()
    alice = start("When the answer is no", at=gone)
    assert alice.wait(STARTED) == 0
    assert alice.text().startswith("no relay: ")


def test_calls_are_answered_by_the_program(start: Start, bob: JsonClient, nodes: list[Node], guests: Guests) -> None:
    alice = start("Be asked")
    wait_until(lambda: bob.who("alice") == "free", "the program is there", STARTED)
    carol = guests.json(nodes[0], "carol")
    carol.send("to", name="alice")
    carol.expect("ringing", name="alice")
    carol.expect_error("declined", name="alice")
    bob.send("to", name="alice")
    bob.expect("ringing", name="alice")
    bob.expect("paired", STARTED, name="alice")
    bob.send("msg", id=1, text="hi")
    bob.expect("ack", id=1)
    assert alice.wait(STARTED) == 0
    assert alice.text() == "bob: hi\n"


def test_a_killed_program_goes_on(start: Start, start_node: StartNode, guests: Guests, tmp_path: Path) -> None:
    node = start_node(grace=60)  # a busy machine takes long to start a program
    bob = guests.json(node, "bob", acks=True)
    first = start("Survive", tmp_path, at=node)
    first.wait_for_line("with bob", STARTED)
    chat = bob.expect("paired", name="alice")["chat"]
    first.kill()
    bob.expect("away", name="alice")
    bob.send("msg", id=1, text="still there?")
    second = start("Survive", tmp_path, at=node)
    second.wait_for_line("bob: still there?", STARTED)
    bob.expect("back", name="alice")
    bob.expect("ack", id=1, chat=chat)
    bob.send("leave")
    assert second.wait(STARTED) == 0
    assert second.text() == "with bob\nbob: still there?\n"


def test_trio_will_do(start: Start, bob: JsonClient) -> None:
    alice = start("Under trio")
    assert alice.wait(STARTED) == 0
    assert alice.text() == "bob is free\n"


def test_tls_and_proof_go_together(start: Start, start_node: StartNode, tmp_path: Path) -> None:
    issuer, authority = Issuer(tmp_path / "issuer"), Authority(tmp_path)
    certificate, key = authority.issue("node")
    node = start_node(auth_jwt_key=issuer.file, tls_cert=certificate, tls_key=key)
    (tmp_path / "token").write_text(issuer.token("alice") + "\n")
    alice = start("TLS and proof", authority.file, tmp_path / "token", at=node)
    assert alice.wait(STARTED) == 0
    assert alice.text() == "I am alice\n"


def test_a_websocket_will_do(start: Start, nodes: list[Node]) -> None:
    alice = start("WebSocket and proxies")
    assert alice.wait(STARTED) == 0
    assert alice.text() in (f"I am alice at ws://{nodes[0].server}\n", f"I am alice at {nodes[0].server}\n")


def test_the_protocol_works_without_io(start: Start, nodes: list[Node]) -> None:
    alice = start("Without I/O")
    assert alice.wait(STARTED) == 0
    assert alice.text() == f"Joined at {nodes[0].name}\n"


def test_each_program_was_run() -> None:
    there = {(heading, number) for heading, blocks in programs().items() for number in range(len(blocks))}
    assert len(there) > 8
    if len(_run) > 1:  # this doesn't hold when the test runs alone
        assert _run == there
