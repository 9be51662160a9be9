"""Suitable servers, and one line at the start about an unsuitable one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog.testing

from relay.configuration.config import StartError
from relay.redis_client.client import RedisClient, Unavailable

pytestmark = pytest.mark.anyio

INFO = "# Server\r\nredis_version:{version}\r\n{more}"


@asynccontextmanager
async def server(info: bytes) -> AsyncIterator[str]:
    """A server that answers OK to everything, and this text to INFO."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await reader.read(65536):
            for part in command.split(b"*")[1:]:
                writer.write(info if b"INFO\r\n" in part and b"SETINFO" not in part else b"+OK\r\n")
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()


def bulk(version: str, more: str = "") -> bytes:
    text = INFO.format(version=version, more=more).encode()
    return b"$%d\r\n%b\r\n" % (len(text), text)


async def outcome(info: bytes) -> str:
    """Return the result of `check` for a server with this answer."""
    async with server(info) as url:
        address = url.removeprefix("redis://")
        redis_client = RedisClient(url)
        try:
            await redis_client.check()
        except StartError as error:
            return str(error).replace(address, "ADDRESS")
        except Unavailable as error:
            return f"not now: {error}".replace(address, "ADDRESS")
        finally:
            await redis_client.aclose()
    return ""


async def test_a_server_older_than_seven_is_refused() -> None:
    assert await outcome(bulk("6.2.14")) == "Redis 6.2.14 is too old: 7 or later is needed"


@pytest.mark.parametrize(("version", "more"), [("7.0.0", ""), ("8.2.1", ""), ("7.2.4", "server_name:valkey\r\n")])
async def test_seven_and_later_and_valkey_will_do(version: str, more: str) -> None:
    assert await outcome(bulk(version, more)) == ""


async def test_a_server_that_may_not_say_who_it_is_will_do_and_the_log_says_what_that_costs() -> None:
    with structlog.testing.capture_logs() as log:
        assert await outcome(b"-NOPERM no permissions to run 'info'\r\n") == ""
    assert "INFO is refused" in log[0]["event"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"-NOAUTH Authentication required.\r\n",
            "Redis refuses the credentials: ADDRESS: NOAUTH",
        ),
        (b"-ERR unknown command 'INFO'\r\n", "Redis refuses: ADDRESS: ERR unknown command 'INFO'"),
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            "not now: ADDRESS: LOADING Redis",
        ),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "not now: ADDRESS: MASTERDOWN Link"),
    ],
)
async def test_a_failure_that_passes_by_itself_is_waited_for_and_any_other_is_not(answer: bytes, said: str) -> None:
    assert (await outcome(answer)).startswith(said)
