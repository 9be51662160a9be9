"""Fixtures for the tests of the client."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cli.chatting import Open
from tests.cli.children import Nursery
from tests.cli.piped import Piped, Start
from tests.cli.scripted import ScriptedNode
from tests.cli.terminal import Terminal


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that forks all others, once for the whole run."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    with ScriptedNode() as node:
        yield node


@pytest.fixture
def terminal(node: ScriptedNode, nursery: Nursery) -> Iterator[Open]:
    """Opens terminals that run `pairchat`."""
    defaults = {"server": node.address, "launch": nursery.start}
    with ExitStack() as opened:
        yield lambda *args, **how: opened.enter_context(Terminal(*args, **{**defaults, **how}))


@pytest.fixture
def start(node: ScriptedNode, nursery: Nursery) -> Iterator[Start]:
    """Starts `pairchat` without a terminal."""
    defaults = {"server": node.address, "launch": nursery.start}
    with ExitStack() as started:
        yield lambda *args, **how: started.enter_context(Piped(*args, **{**defaults, **how}))
