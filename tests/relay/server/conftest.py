"""Tests of connections need no server: what a directory on one makes of their claims, tests/relay/hub tests."""

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
