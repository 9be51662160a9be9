"""Nodes and clients for the black-box tests. A test that leaves something behind fails."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import GRACE, LEASE, Party
from tests.support.process import Process
from tests.support.server import RedisServer

OPEN_FILES = 8192  # enough for the crowds of these tests, also in the nodes, which inherit it

SABOTAGE = Path(__file__).parents[1] / "fixtures" / "sabotage.py"

StartNode = Callable[..., Node]
Torture = Callable[..., Process]


@pytest.fixture(scope="session", autouse=True)
def many_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))


@pytest.fixture(scope="session")
def shared_party(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    party = Party(tmp_path_factory.mktemp("party"), redis_server.url, size=3)
    yield party
    party.stop()


@pytest.fixture
def guests() -> Iterator[Guests]:
    """Opens the test's clients."""
    guests = Guests()
    yield guests
    guests.depart()


@pytest.fixture
def nodes(shared_party: Party, guests: Guests) -> Iterator[list[Node]]:
    """Three nodes of one cluster, shared with other tests: don't harm them."""
    with lent(shared_party, guests) as nodes:
        yield nodes


@contextmanager
def lent(party: Party, guests: Guests) -> Iterator[list[Node]]:
    """Yield the party's nodes to one test, and check afterwards that it left nothing there."""
    written = [len(node.text()) for node in party.nodes]
    yield party.nodes
    guests.depart()
    try:
        party.check_nothing_is_left(guests.names)
    except BaseException:
        party.wait_for_last_words()
        show_logs(party.nodes, written)
        party.stop()
        party.start()  # so that the next test doesn't suffer for this one
        raise
    show_logs(party.nodes, written)


def show_logs(nodes: list[Node], written: list[int]) -> None:
    """Print the nodes' output during the test, which pytest shows if the test fails."""
    for node, start in zip(nodes, written, strict=True):
        print(f"--- {node.name}\n{node.text()[start:]}")


@pytest.fixture
def node(nodes: list[Node]) -> Node:
    """One node, for tests that need no second."""
    return nodes[0]


@pytest.fixture(params=[pytest.param("same node", marks=pytest.mark.slow), "two nodes"])
def places(request: pytest.FixtureRequest, nodes: list[Node]) -> tuple[Node, Node]:
    """The places of two people: what holds on one node holds across two.

    tests/relay holds it for both without sockets, and tests with `node` have both people on one.
    """
    return (nodes[0], nodes[0]) if request.param == "same node" else (nodes[0], nodes[1])


@pytest.fixture
def apart(nodes: list[Node]) -> tuple[Node, Node]:
    """The places of two people on two nodes, where it makes no difference: tests/relay holds it without sockets."""
    return nodes[0], nodes[1]


@pytest.fixture
def start_node(redis_server: RedisServer, prefix: str, tmp_path: Path, guests: Guests) -> Iterator[StartNode]:
    """Starts nodes for this test alone, which it may stop, freeze and kill.

    `kind` is their class, by default the checkout's.
    """
    started: list[Node] = []

    def start(kind: type[Node] = Node, **options: str | float) -> Node:
        settings = {"redis": redis_server.url, "prefix": prefix, "lease": LEASE, "grace": GRACE, **options}
        started.append(kind(tmp_path, wait=False, **settings))
        started[-1].wait_until_listening()
        return started[-1]

    yield start
    guests.depart()
    for node in started:
        node.kill()
        print(f"--- {node.name}\n{node.text()}")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs of `relay torture`. (Python uses it, too.)"""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def torture(tmp_path: Path, logs: Path) -> Iterator[Torture]:
    """Starts runs of `relay torture`. With `sabotage` their nodes lack this safeguard."""
    started: list[Process] = []

    def start(*words: str | float, sabotage: str = "") -> Process:
        how = [str(SABOTAGE), sabotage] if sabotage else ["-m", "relay"]
        command = [sys.executable, *how, "torture", *map(str, words)]
        started.append(Process(command, tmp_path / f"torture{len(started)}.log"))
        return started[-1]

    yield start
    for run in started:
        print(run.text())
        run.kill()
