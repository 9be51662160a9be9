"""Fixtures for all tests: a real server, and separate nodes."""

import gc
import signal
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import redis
import uvloop
from hypothesis import HealthCheck, settings

from tests.support.examples import EXAMPLES
from tests.support.leaks import open_things, tasks
from tests.support.server import RedisServer

_serial = count(1)

# Files of tests/integration, the longest first. A file runs in one process, so one that began late would be all that
# is left to do in the end.
LONGEST = (
    *("surroundings", "torture", "crash", "simulation", "pairchat_resume", "pairchat_terminal", "package", "endpoint"),
    *("half_open", "bench", "examples", "redis_away", "limits", "operate", "shutdown", "pubsub_faults", "amnesia"),
    *("cluster_failover", "start_errors", "old_nodes", "torture_proof", "outages", "sentinel_engine", "redis_tls"),
    *("long_way", "back_pressure", "resume", "rolling_restart"),
)

# How fast examples come says how busy the machine is, and nothing about what is tested. Each run has others.
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=EXAMPLES,
)
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    give_children_default_dispositions()
    # If a run is terminated, its nodes and servers must end with it, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def give_children_default_dispositions() -> None:
    """Prevent children from inheriting ignored signals (`nohup make test &`).



    Here these signals are still ignored, by a handler that does nothing: children don't inherit a handler, but they
    inherit SIG_IGN. Python itself ignores SIGPIPE and SIGXFSZ, and resets them for its children.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is imported and collected out of the garbage collector's sight: it stays until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what waits long before all others; within a file nothing changes."""
    items.sort(key=lambda item: _turn(item.path))


def _turn(file: Path) -> int:
    name = file.stem.removeprefix("test_")
    if file.parent.name != "integration":
        return len(LONGEST) + 1
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def what_stays() -> None:
    """Open what stays open for the whole process: libuv's own pipe."""
    uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test and its fixtures that no file, socket, process, or key without a TTL is left.



    This is the first of a test's fixtures, so it ends last. The servers of a single test are checked when they stop.
    """
    before = open_things()
    yield
    if "redis_server" in request.fixturenames:
        request.getfixturevalue("redis_server").check_no_key_stays()
    left = open_things() - before
    assert not left, f"left behind: {', '.join(sorted(left))}"


@pytest.fixture(autouse=True)
def look_for_tasks(nothing_left: None, request: pytest.FixtureRequest) -> None:
    """Set `no_task_left` up before all other fixtures of a test with a loop, so that it also sees their tasks."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    yield
    left = tasks()
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole run. Each test has its own prefix. A test that disturbs the server starts its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_store(redis_server: RedisServer) -> redis.Redis:
    client = redis_server.client()
    client.ping()  # this opens the connection, so that it doesn't count as a leak of a test
    return client


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop, freeze or empty."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def prefix() -> str:
    """A prefix for this test alone."""
    return f"test{next(_serial)}"
