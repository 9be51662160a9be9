"""Fixtures for tests of scripts: a separate key, and a function that runs a script on it."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from relay.redis_client.client import Script

OTHER = "0" * 40  # another server

Run = Callable[..., Any]


@pytest.fixture
def key(prefix: str) -> str:
    """A partition for this test alone."""
    return f"{prefix}:{{p1}}"


@pytest.fixture
def run(redis_store: redis.Redis, key: str) -> Run:
    def run(name: str, *args: str | int) -> Any:
        return redis_store.eval(Script(name).text.decode(), 1, key, *args)

    return run


@pytest.fixture
def here(redis_store: redis.Redis) -> str:
    """The name of this server."""
    info = redis_store.info("server")
    assert isinstance(info, dict)
    return str(info["run_id"])


def ttl(redis_store: redis.Redis, key: str) -> int:
    left = redis_store.pttl(key)
    assert isinstance(left, int)
    return left
