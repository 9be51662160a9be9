"""What the tests of the client share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cli.chatting import Open
from tests.cli.scripted import ScriptedNode
from tests.cli.terminal import Terminal


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    with ScriptedNode() as node:
        yield node


@pytest.fixture
def terminal(node: ScriptedNode) -> Iterator[Open]:
    """Opens terminals with `pairchat` in them."""
    with ExitStack() as opened:
        yield lambda *args, **how: opened.enter_context(Terminal(*args, **{"server": node.address, **how}))
