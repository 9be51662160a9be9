"""Ann and ben, programs that acknowledge by themselves, each on a node, and two more nodes to move to."""

import pytest

from relay.session.runtime_interface import Limits
from tests.relay.world import User, World, enter

GRACE = 20.0


@pytest.fixture
def world() -> World:
    world = World(Limits(grace=GRACE))
    for node_id in ("n1", "n2", "n3", "n4"):
        world.place(node_id)
    return world


@pytest.fixture
def ann(world: World) -> User:
    return enter(world.place("n1"), "ann", acks=True)


@pytest.fixture
def ben(world: World) -> User:
    return enter(world.place("n2"), "ben", acks=True)
