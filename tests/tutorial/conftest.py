"""The fixtures of the tutorial: two nodes, the Redis that they share, and clients. Read the tests first."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support.clients import TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import PATIENCE
from tests.support.server import RedisServer


@pytest.fixture
def redis(own_redis: RedisServer) -> RedisServer:
    return own_redis


@pytest.fixture
def nodes(redis: RedisServer, tmp_path: Path) -> Iterator[list[Node]]:
    with ExitStack() as ends:
        nodes = [Node(tmp_path, wait=False, name=name, redis=redis.url, lease=LEASE) for name in ("one", "two")]
        for node in nodes:
            ends.callback(node.kill)
        for node in nodes:
            node.wait_until_listening()
        yield nodes


@pytest.fixture
def one(nodes: list[Node]) -> Node:
    return nodes[0]


@pytest.fixture
def two(nodes: list[Node]) -> Node:
    return nodes[1]


@pytest.fixture
def guests(nodes: list[Node]) -> Iterator[Guests]:
    guests = Guests()
    yield guests
    guests.depart()


@pytest.fixture
def nc(guests: Guests) -> Callable[..., TextClient]:
    """`nc(one)` connects. `nc(one, "alice")` also claims the name, and checks the `OK`."""
    return guests.text


@pytest.fixture
def nc_when_free(guests: Guests) -> Callable[[Node, str], TextClient]:
    """Claim the name as `nc` does, and try again until it is granted."""
    return partial(guests.text_when_free, patience=PATIENCE)


@pytest.fixture
def program(guests: Guests) -> Callable[..., object]:
    """`program(one)` connects. `program(one, "alice", acks=True)` also sends `hello`, and checks the `welcome`."""
    return guests.json
