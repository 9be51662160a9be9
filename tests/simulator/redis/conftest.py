"""A server of the model, and a client of it."""

import pytest

from simulator.redis import Server
from tests.simulator.redis.dialogue import Client, Clock, new_server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Server:
    return new_server(clock)


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server)
