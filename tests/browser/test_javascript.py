"""The JavaScript client outside of a browser: its own tests, its package, its types, and the programs of its page."""

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.web.page_files import load
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import Process, wait_until
from tools.browser import MODULES, NODE, node, npm

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "js"
PAGES = [ROOT / "docs" / "javascript.md", ROOT / "README.md"]
STARTED = 30.0  # seconds: what starts a program takes a second of a quiet machine
TYPED = """
import { connect, type Chat, type Message } from "pair-relay";
const urls = ["wss://a/ws", new URL("wss://b/ws")];
const chat: Chat = await connect(urls, { name: "a", auth: async () => "t", acks: "manual" });
chat.addEventListener("message", ({ detail }) => { const told: Message = detail; chat.acknowledge(told); });
for await (const event of chat) {
  if (event.type === "settled") { const by: "client" | "node" = await event.receipt.delivered; }
}
// @ts-expect-error
await connect("wss://a/ws", {});
// @ts-expect-error
(await chat.send("hi")).status === "arrived";
"""

Start = Callable[..., Process]


def programs() -> dict[str, list[str]]:
    """By heading."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = {section.splitlines()[0]: re.findall(r"```js\n(.*?)```", section, re.DOTALL) for section in sections}
    return {heading: blocks for heading, blocks in found.items() if blocks}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed, as `npm pack` makes it."""
    folder = tmp_path_factory.mktemp("npm")
    [made] = json.loads(npm("pack", "--json", "--pack-destination", folder, at=CLIENT))
    package = folder / "node_modules" / "pair-relay"
    with tarfile.open(folder / made["filename"]) as archive:
        for member in archive:
            data = archive.extractfile(member)
            assert data is not None
            place = package / Path(member.name).relative_to("package")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data.read())
    return folder


@pytest.fixture
def start(installed: Path, tmp_path: Path, pair: list[Node]) -> Iterator[Start]:
    """Starts a program of the page."""
    started: list[Process] = []

    def start(heading: str, number: int = 0) -> Process:
        program = programs()[heading][number].replace("localhost:9999", f"127.0.0.1:{pair[0].address[1]}")
        file = installed / f"{tmp_path.name}{len(started)}.mjs"
        file.write_text(program, encoding="utf-8")
        started.append(Process([str(NODE), str(file)], tmp_path / f"program{len(started)}.log"))
        return started[-1]

    yield start
    for process in started:
        print(process.text())
        process.kill()


def test_its_own_tests_pass() -> None:
    done = node("--test", "--test-reporter=tap", *sorted((CLIENT / "test").glob("*.test.js")))
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[0]) > 60


def test_the_package_has_what_the_page_uses_its_types_and_its_licence(installed: Path) -> None:
    package = installed / "node_modules" / "pair-relay"
    modules = {file.name for file in CLIENT.glob("*.js")}
    others = {"package.json", "index.d.ts", "README.md", "LICENSE"}
    assert {file.name for file in package.iterdir()} == modules | others
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert {f"/client/{name}" for name in modules} < set(load())
    version = json.loads((package / "package.json").read_text())["version"]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_its_types_say_what_is_wrong(installed: Path) -> None:
    (installed / "program.mts").write_text(TYPED, encoding="utf-8")
    words = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"]
    done = node(MODULES / "typescript" / "bin" / "tsc", *words, "program.mts", cwd=installed)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("heading", "told"), [("Say something", "delivered by his client"), ("Talk to it", "delivered to bob's client")]
)
def test_a_program_that_says_something_learns_that_it_has_arrived(
    start: Start, guests: Guests, pair: list[Node], heading: str, told: str
) -> None:
    bob = guests.json(pair[1], "bob", acks=True)
    alice = start(heading)
    bob.expect("paired", STARTED, name="alice")
    bob.expect("msg", id=1, text="hi")
    bob.send("ack", id=1)
    assert alice.wait(STARTED) == 0
    assert alice.text() == f"{told}\n"


def test_an_echo_answers_and_acknowledges_what_it_hears(start: Start, guests: Guests, pair: list[Node]) -> None:
    bob = guests.json(pair[1], "bob", acks=True)
    start("Hear something")
    wait_until(lambda: bob.who("echo") == "free", "the echo is there", STARTED)
    bob.call("echo")
    bob.send("msg", id=1, text="hé")
    bob.expect("msg", text="hé")
    bob.expect("ack", id=1)
    bob.send("ack", id=1)


def test_a_listener_is_enough(start: Start, guests: Guests, pair: list[Node]) -> None:
    bob = guests.json(pair[1], "bob", acks=True)
    ear = start("Hear something", 1)
    wait_until(lambda: bob.who("ear") == "free", "the program is there", STARTED)
    bob.call("ear")
    bob.send("msg", id=1, text="hi")
    bob.expect("ack", id=1)
    bob.send("leave")
    assert ear.wait(STARTED) == 0
    assert ear.text() == "bob: hi\n"


def test_more_messages_than_a_window_have_a_receipt_each(start: Start, guests: Guests, pair: list[Node]) -> None:
    bob = guests.json(pair[1], "bob", acks=True)
    alice = start("What became of it")
    bob.expect("paired", STARTED, name="alice")
    for number in range(1000):
        bob.expect("msg", text=f"line {number}")
        bob.send("ack", id=number + 1)
    assert alice.wait(STARTED) == 0
    assert alice.text() == "1000 of 1000 arrived\n"


def test_a_refusal_is_an_error_with_its_code(start: Start) -> None:
    alice = start("When the answer is no")
    assert alice.wait(STARTED) == 0
    assert alice.text() == "not today: no_such_user\n"


def test_calls_are_answered_by_the_program(start: Start, guests: Guests, pair: list[Node]) -> None:
    carol, bob = guests.json(pair[0], "carol"), guests.json(pair[1], "bob", acks=True)
    alice = start("Be asked")
    wait_until(lambda: bob.who("alice") == "free", "the program is there", STARTED)
    carol.send("to", name="alice")
    carol.expect("ringing", name="alice")
    carol.expect_error("declined", name="alice")
    bob.send("to", name="alice")
    bob.expect("ringing", name="alice")
    bob.expect("paired", name="alice")
    bob.send("msg", id=1, text="hi")
    bob.expect("ack", id=1)
    bob.send("leave")
    assert alice.wait(STARTED) == 0
    assert alice.text() == "bob: hi\n"


def test_a_session_survives_a_reload(start: Start, guests: Guests, pair: list[Node]) -> None:
    bob = guests.json(pair[1], "bob", acks=True)
    alice = start("In a page")
    bob.expect("paired", STARTED, name="alice")
    bob.expect("msg", id=1, text="before the reload")
    bob.send("ack", id=1)
    assert alice.wait(STARTED) == 0
    assert alice.text() == "still with bob\n"


def test_each_program_is_run() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for heading, blocks in programs().items():
        assert f'"{heading}"' in text
        assert len(blocks) == 1 or f'start("{heading}", {len(blocks) - 1})' in text
