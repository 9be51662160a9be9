"""What the tests of the client share."""

from collections.abc import Iterator

import pytest

from tests.cli.scripted import ScriptedNode


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    with ScriptedNode() as node:
        yield node
