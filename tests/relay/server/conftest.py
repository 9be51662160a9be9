"""Tests of connections need no server: tests/relay/hub tests what a directory on a server makes of their claims."""

from collections.abc import AsyncIterator

import pytest

from relay.hub.hub import Hub
from relay.session.runtime_interface import Limits
from tests.relay.desk import a_router_in_memory
from tests.support.memory import MemoryDirectory


@pytest.fixture
def directory() -> MemoryDirectory:
    return MemoryDirectory()


@pytest.fixture
async def hub(directory: MemoryDirectory, limits: Limits) -> AsyncIterator[Hub]:
    async with a_router_in_memory(directory, limits) as hub:
        yield hub
