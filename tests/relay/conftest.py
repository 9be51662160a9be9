"""Fixtures for tests of a node's core: a world in memory, or connections to the core on a real server.

A test module may set its own `LIMITS`.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from relay.hub.hub import Hub
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, a_hub, clients
from tests.relay.world import User, World, enter
from tests.support.server import RedisServer


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Limits:
    limits: Limits = getattr(request.module, "LIMITS", Limits())
    return limits


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Restore the log after a test. A command that a test runs in this process sets it up."""
    yield
    structlog.reset_defaults()


# --- in memory


@pytest.fixture
def world(limits: Limits) -> World:
    return World(limits)


@pytest.fixture
def ann(world: World) -> User:
    """A program."""
    return enter(world.place("n1"), "Ann")


@pytest.fixture
def tim(world: World) -> User:
    """A person with `nc`."""
    return enter(world.place("n1"), "Tim", program=False)


@pytest.fixture
def ben(world: World) -> User:
    """A program on another node that acknowledges by itself, so that the test decides when."""
    return enter(world.place("n2"), "Ben", acks=True)


# --- on a real server


@pytest.fixture
async def hub(redis_server: RedisServer, prefix: str, limits: Limits) -> AsyncIterator[Hub]:
    async with a_hub(redis_server.url, prefix, limits) as hub:
        yield hub


@pytest.fixture
async def wire(hub: Hub) -> AsyncIterator[Connect]:
    with clients(hub) as connect:
        yield connect
