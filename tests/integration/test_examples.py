"""The programs of `examples/` are small, chat with each other, and lose nothing when their node dies."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

import pytest

from tests.cli.children import Child, Streams
from tests.cli.piped import Piped
from tests.cli.scripted import BYE, PAIRED, QUIT, WELCOME, ScriptedNode
from tests.integration.conftest import StartNode
from tests.support import tools
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {"chat.py": "python3", "chat.mjs": "node", "chat.sh": "bash"}
LINES = 30  # lines of code, without blank lines, the first comment, and lines that only close a block
NO_CODE = re.compile(r"([)}; ]|esac|done)*")
WIDTH = 120
COMMENT_AT_THE_TOP = re.compile(r'"""(?s:.*?)"""|((#|//).*\n)+')

Start = Callable[..., Piped]


# These differ from machine to machine. The stand-ins are enough to see what the examples themselves do.
INSTALLED = [pytest.param("installed", marks=pytest.mark.slow)] if any(map(shutil.which, tools.NAMES)) else []


@pytest.fixture(params=["stand-ins", *INSTALLED])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts examples with the programs of the tests, and with those of this machine if it has any."""
    tools.provide(tmp_path / "bin", installed=request.param == "installed")

    def launch(args: tuple[str, ...], environment: dict[str, str], streams: Streams, terminal: bool) -> Child:
        path = f"{tmp_path / 'bin'}:{environment['PATH']}"
        stdin, stdout, stderr = streams
        return subprocess.Popen(args, stdin=stdin, stdout=stdout, stderr=stderr, env=environment | {"PATH": path})

    def start(example: str, me: str, partner: str, *nodes: Node | ScriptedNode) -> Piped:
        command = [COMMANDS[example], str(EXAMPLES / example), me, partner]
        servers = [node.server if isinstance(node, Node) else node.address for node in nodes]
        return started.enter_context(Piped(*command, *servers, server="", launch=launch))

    with ExitStack() as started:
        yield start


def wait_for(name: str, guests: Guests, node: Node) -> None:
    probe = guests.json(node, "probe")
    wait_until(lambda: probe.who(name) == "free", f"{name} is there")


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_has_30_lines(example: str) -> None:
    text = COMMENT_AT_THE_TOP.sub("", (EXAMPLES / example).read_text(encoding="utf-8"), count=1)
    code = [line for line in text.splitlines() if not NO_CODE.fullmatch(line)]
    assert len(code) <= LINES, "\n".join(code)
    assert max(map(len, code)) <= WIDTH


@pytest.mark.parametrize(
    ("caller", "callee"), [("chat.py", "chat.mjs"), ("chat.mjs", "chat.sh"), ("chat.sh", "chat.py")]
)
def test_two_examples_chat_with_each_other(
    start: Start, caller: str, callee: str, nodes: list[Node], guests: Guests
) -> None:
    bob = start(callee, "ex-bob", "-", nodes[1])
    wait_for("ex-bob", guests, nodes[0])
    alice = start(caller, "ex-alice", "ex-bob", nodes[0])
    alice.type('hé 👋\n"quoted" $HOME \\n\n'.encode())
    assert [bob.line() for _ in range(2)] == ["ex-alice: hé 👋\n", 'ex-alice: "quoted" $HOME \\n\n']
    bob.type(b"".join(b"line %d\n" % number for number in range(20)))
    assert [alice.line() for _ in range(20)] == [f"ex-bob: line {number}\n" for number in range(20)]
    alice.type(b"bye")
    assert alice.ended() == (0, "", [])
    assert bob.ended() == (0, "ex-alice: bye\n", [])


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_goes_on_at_another_node_where_its_own_dies(
    start: Start, example: str, start_node: StartNode, guests: Guests
) -> None:
    survivor, victim = start_node(grace=30), start_node(grace=30)
    bob = guests.json(survivor, "ex-bob", acks=True)
    alice = start(example, "ex-alice", "ex-bob", victim, survivor)
    chat = bob.expect("paired", name="ex-alice")["chat"]
    alice.type(b"acknowledged\nnot acknowledged\n")
    assert [bob.expect("msg", id=n)["text"] for n in (1, 2)] == ["acknowledged", "not acknowledged"]
    bob.send("ack", id=1)
    bob.send("msg", id=1, text="can you hear me?")
    assert alice.line() == "ex-bob: can you hear me?\n"
    bob.expect("ack", id=1)
    victim.kill()
    alice.type(b"written without a node\n")
    while (frame := bob.frame())["type"] in ("away", "back"):
        pass
    assert (frame["id"], frame["text"], frame["chat"]) == (3, "written without a node", chat), "and 2 comes only once"
    bob.send("ack", id=3)
    bob.send("msg", id=2, text="good-bye")
    assert alice.line() == "ex-bob: good-bye\n"
    assert alice.ended() == (0, "", [])
    assert [bob.expect(type)["type"] for type in ("ack", "left")] == ["ack", "left"]


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_shows_nothing_that_a_terminal_obeys(
    start: Start, example: str, nodes: list[Node], guests: Guests
) -> None:
    bob = guests.json(nodes[1], "ex-bob")
    alice = start(example, "ex-alice", "ex-bob", nodes[0])
    bob.expect("paired")
    bob.send("msg", id=1, text="\x1b[2J\x9b\u202e\n`date`\t\u2028'é'")
    assert alice.line() == "ex-bob: ?[2J??" + "?`date`??'é'\n"


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_ends_with_what_it_was_refused(
    start: Start, example: str, nodes: list[Node], guests: Guests
) -> None:
    guests.text(nodes[1], "ex-alice")
    status, _, [told] = start(example, "ex-alice", "-", nodes[0]).ended()
    assert (status, told) == (1, "This name belongs to another connection.")
    carol = f"ex-carol-{token_hex(3)}"  # her session outlives her program for a moment, and keeps its name
    status, _, [told] = start(example, carol, "ex-nobody", nodes[0]).ended()
    assert (status, told) == (1, "There is no such user.")


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_says_what_may_not_have_arrived(
    start: Start, example: str, nodes: list[Node], guests: Guests
) -> None:
    bob = guests.json(nodes[1], "ex-bob", acks=True)
    alice = start(example, "ex-alice", "ex-bob", nodes[0])
    bob.expect("paired")
    alice.type(b"lost?\n")
    bob.expect("msg", text="lost?")
    bob.send("quit")
    assert alice.line() == "* lost: lost?\n"
    assert alice.ended() == (0, "", [])


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_says_an_outcome_once_however_often_it_is_told(start: Start, example: str) -> None:
    """A message that is sent again repeats its outcome. The second outcome here is for a message that nobody sent."""
    with ScriptedNode() as node:
        alice = start(example, "ex-alice", "ex-bob", node)
        peer = node.accept()
        assert peer.heard()["type"] == "hello"
        peer.say(WELCOME % ("ex-alice", 256, 1_048_576, 30))
        peer.expect({"type": "to", "name": "ex-bob"})
        peer.say(PAIRED % ("ex-bob", "c1"))
        alice.type(b"lost?\n")
        peer.expect({"type": "msg", "id": 1, "text": "lost?", "chat": "c1"})
        lost = '{"type":"unconfirmed","from":1,"to":2,"reason":"left"}'
        peer.say(lost, lost, '{"type":"left","name":"ex-bob","reason":"left"}')
        peer.expect(QUIT)
        peer.say(BYE)
        assert alice.ended() == (0, "* lost: lost?\n", [])
