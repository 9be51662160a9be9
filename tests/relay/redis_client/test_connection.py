"""The connection on which the bus reads and writes RESP itself."""

import asyncio
import itertools

import anyio
import pytest

from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.connection import RespConnection
from tests.relay.desk import until

pytestmark = pytest.mark.anyio

OK = b"+OK\r\n"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of the nodes. On a broken connection it raises other errors than Python's own."""
    return "asyncio", {"use_uvloop": True}


async def serve(replies: int) -> tuple[asyncio.Server, str]:
    """Run a server that answers a number of commands and then disconnects."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = replies
        while left and (data := await reader.read(1000)):
            for _ in range(min(left, data.count(b"*"))):
                writer.write(OK)
                left -= 1
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def commands_of_a_set_up() -> int:
    seen = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while data := await reader.read(1000):
            seen += data.count(b"*")
            writer.write(OK * data.count(b"*"))
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        redis_client = RedisClient(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        connection = await redis_client.connect("")
        connection.close()
    return seen


async def test_a_connection_that_ends_while_it_is_taken_over_is_known_to_be_lost() -> None:
    """The end came before the take-over and isn't reported again, so waiting for it would take for ever."""
    server, url = await serve(await commands_of_a_set_up())
    async with server:
        connection = await RedisClient(url).connect("")
        await anyio.sleep(0.05)  # the server disconnects, which can't be seen here without the take-over
        taken = RespConnection(connection, lambda _: None)
        await until(taken.lost.is_set)
        taken.abort()


async def test_a_connection_that_is_refused_while_it_is_set_up_is_unavailable() -> None:
    """The event loop may raise anything: a proxy whose server is gone accepts, and resets at once."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await anyio.sleep(next(delays) / 10_000)
        writer.transport.abort()

    delays = itertools.cycle(range(10))
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        redis_client = RedisClient(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(300):
            with pytest.raises(Unavailable):
                await redis_client.connect("")


async def test_bytes_that_are_no_resp_cost_the_connection() -> None:
    """It is another kind of server, or a compromised one: nothing that follows can be understood."""
    heard: list[object] = []
    left = await commands_of_a_set_up()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        while data := await reader.read(1000):
            for _ in range(data.count(b"*")):
                writer.write(OK if left else OK + b"HTTP/1.1 400 Bad Request\r\n" + OK)
                left = max(0, left - 1)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        redis_client = RedisClient(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        connection = RespConnection(await redis_client.connect(""), heard.append)
        connection.send(("PING",))
        with anyio.move_on_after(5):
            await connection.lost.wait()
        lost = connection.lost.is_set()
        connection.abort()  # the server waits for it
    assert lost
    assert heard == [b"OK"]
