"""A node that can't start says why in one line; it waits for a Redis that isn't there yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.tools.testbed.process import HOST, free_port
from tests.support.node import START_PATIENCE, Node, node_command
from tests.support.process import Process
from tests.support.server import RedisServer

Options = dict[str, str | float]


def expect_refusal(tmp_path: Path, *words: str, **options: str | float) -> None:
    """Check that the node ends by itself with a status other than 0, after one line with these words."""
    node = Process(node_command(**{"port": 0, **options}), tmp_path / "node.log")
    try:
        assert node.wait(START_PATIENCE) != 0
    finally:
        node.kill()
    lines = [line for line in node.text().splitlines() if line.strip()]
    assert len(lines) == 1, node.text()
    assert "Traceback" not in lines[0]
    for word in words:
        assert word in lines[0]


def test_a_port_in_use_is_refused(tmp_path: Path, redis_server: RedisServer) -> None:
    taken = redis_server.port
    expect_refusal(tmp_path, str(taken), redis=redis_server.url, port=taken)


@pytest.mark.parametrize("option", ["classic_port", "http_port"])
def test_any_other_port_in_use_is_refused_too(tmp_path: Path, redis_server: RedisServer, option: str) -> None:
    taken = redis_server.port
    expect_refusal(tmp_path, str(taken), redis=redis_server.url, **{option: taken})


def test_the_port_of_another_node_is_refused(tmp_path: Path, redis_server: RedisServer, node: Node) -> None:
    taken = node.address[1]
    expect_refusal(tmp_path, str(taken), redis=redis_server.url, port=taken)


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "nonsense", "redis://127.0.0.1:no-port"])
def test_a_bad_url_is_refused(tmp_path: Path, url: str) -> None:
    expect_refusal(tmp_path, redis=url)


@pytest.fixture
def locked_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "locked", ["--requirepass", "opensesame"])
    yield server
    server.stop()


@pytest.mark.parametrize("user", ["", ":wrong@"], ids=["no password", "a wrong password"])
def test_a_redis_that_refuses_the_password_ends_the_start(tmp_path: Path, locked_redis: RedisServer, user: str) -> None:
    expect_refusal(tmp_path, redis=f"redis://{user}{HOST}:{locked_redis.port}/0")


def test_the_password_is_not_logged(tmp_path: Path, locked_redis: RedisServer) -> None:
    node = Node(tmp_path, redis=f"redis://:opensesame@{HOST}:{locked_redis.port}/0")
    node.terminate()
    node.wait()
    assert "opensesame" not in node.text()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("opensesame\n")
    return file


def test_a_password_from_a_file_opens_redis_and_is_not_logged(
    tmp_path: Path, locked_redis: RedisServer, password_file: Path
) -> None:
    node = Node(tmp_path, redis=f"redis://{HOST}:{locked_redis.port}/0", redis_password_file=str(password_file))
    node.terminate()
    assert node.wait() == 0
    assert "opensesame" not in node.text()


def test_a_password_file_for_no_redis_is_refused(tmp_path: Path, password_file: Path) -> None:
    expect_refusal(tmp_path, "--redis-password-file needs --redis", redis_password_file=str(password_file))


# tests/relay/configuration/test_config.py and test_options.py have all that is wrong.
@pytest.mark.parametrize("options", [{"lease": "soon"}, {"port": 70000}, {"host": "not an address"}], ids=str)
def test_a_wrong_option_is_refused(tmp_path: Path, redis_server: RedisServer, options: Options) -> None:
    expect_refusal(tmp_path, redis=redis_server.url, **options)


def test_a_redis_that_is_not_there_yet_is_waited_for_and_missed_aloud(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, wait=False, redis=f"redis://{HOST}:{port}/0")
    node.wait_for_line(str(port))
    assert "listening" not in node.text()
    assert node.alive
    server = RedisServer(tmp_path / "late", port=port)
    try:
        node.wait_until_listening()
        node.terminate()
        assert node.wait() == 0
    finally:
        node.kill()
        server.stop()
    assert "Traceback" not in node.text()


def test_a_node_that_waits_for_redis_can_be_ended(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, wait=False, redis=f"redis://{HOST}:{port}/0")
    node.wait_for_line(str(port))
    node.terminate()
    try:
        assert node.wait() == 0
    finally:
        node.kill()
    assert "Traceback" not in node.text()
