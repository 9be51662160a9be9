"""The network between a node and the server, whole and broken."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
import pytest
from anyio.abc import ByteStream, SocketStream

from relay.tools.torture.redis_proxy import RedisProxy
from tests.support.process import PATIENCE

pytestmark = pytest.mark.anyio

SILENCE = 0.1  # seconds, in which anything on the loopback interface would arrive


class Network:
    """A server that echoes, and a proxy before it."""

    def __init__(self, proxy: RedisProxy, serving: list[ByteStream]) -> None:
        self.proxy = proxy
        self.serving = serving

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.proxy.port)


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    serving: list[ByteStream] = []

    async def echo(stream: SocketStream) -> None:
        serving.append(stream)
        async with stream:
            with suppress(anyio.ClosedResourceError):  # the test wants it
                async for data in stream:
                    await stream.send(b"echo " + data)

    server = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, echo)
        proxy = RedisProxy(("127.0.0.1", server.extra(anyio.abc.SocketAttribute.local_port)))
        await tasks.start(proxy.run)
        yield Network(proxy, serving)
        tasks.cancel_scope.cancel()


async def ask(client: SocketStream, data: bytes) -> bytes:
    await client.send(data)
    return await hear(client)


async def hear(client: SocketStream) -> bytes:
    with anyio.fail_after(PATIENCE):
        return await client.receive()


async def silent(client: SocketStream) -> bool:
    with anyio.move_on_after(SILENCE) as scope:
        await client.receive()
    return scope.cancelled_caught


async def closed(client: SocketStream) -> bool:
    try:
        await hear(client)
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True
    return False


async def test_everything_passes_in_both_directions() -> None:
    async with network() as net, await net.connect() as one, await net.connect() as other:
        assert await ask(one, b"1") == b"echo 1"
        assert await ask(other, b"2") == b"echo 2"
        assert await ask(one, b"3") == b"echo 3"


async def test_an_end_passes_too() -> None:
    async with network() as net, await net.connect() as client:
        await ask(client, b"1")
        await net.serving[0].aclose()
        assert await closed(client)


async def test_held_bytes_do_not_pass_and_come_when_released() -> None:
    async with network() as net, await net.connect() as client:
        await ask(client, b"1")
        net.proxy.hold()
        await client.send(b"2")
        assert await silent(client)
        net.proxy.release(cut=False)
        assert await hear(client) == b"echo 2"


async def test_held_a_new_connection_stands_and_hears_nothing() -> None:
    async with network() as net:
        net.proxy.hold()
        async with await net.connect() as client:
            await client.send(b"1")
            assert await silent(client)
            net.proxy.release(cut=False)
            assert await hear(client) == b"echo 1"


async def test_held_nobody_learns_of_an_end() -> None:
    async with network() as net, await net.connect() as client:
        await ask(client, b"1")
        net.proxy.hold()
        await net.serving[0].aclose()
        assert await silent(client)
        net.proxy.release(cut=False)
        assert await closed(client)


async def test_released_with_a_cut_connections_break_and_new_ones_pass() -> None:
    async with network() as net, await net.connect() as client:
        await ask(client, b"1")
        net.proxy.hold()
        net.proxy.release(cut=True)
        assert await closed(client)
        async with await net.connect() as another:
            assert await ask(another, b"2") == b"echo 2"


async def test_deafened_a_subscriber_hears_nothing_and_others_go_on() -> None:
    async with network() as net, await net.connect() as subscriber, await net.connect() as other:
        await ask(subscriber, b"SUBSCRIBE inbox")
        await ask(other, b"PING")
        net.proxy.deafen()
        await subscriber.send(b"PING")
        assert await silent(subscriber)
        assert await ask(other, b"PING") == b"echo PING"
        async with await net.connect() as anew:
            assert await ask(anew, b"SUBSCRIBE inbox") == b"echo SUBSCRIBE inbox"


async def test_deafened_a_subscriber_never_learns_of_the_end() -> None:
    async with network() as net, await net.connect() as subscriber:
        await ask(subscriber, b"SSUBSCRIBE inbox")
        net.proxy.deafen()
        await net.serving[0].aclose()
        assert await silent(subscriber)


async def test_slow_everything_comes_late_and_in_order() -> None:
    async with network() as net, await net.connect() as client:
        await ask(client, b"1")
        net.proxy.delay = SILENCE
        began = anyio.current_time()
        await client.send(b"2")
        assert await hear(client) == b"echo 2"
        assert anyio.current_time() - began >= 2 * SILENCE
        net.proxy.delay = 0.0
        assert await ask(client, b"3") == b"echo 3"


async def test_a_server_that_is_away_ends_the_connection() -> None:
    proxy = RedisProxy(("127.0.0.1", 1))
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.run)
        async with await anyio.connect_tcp("127.0.0.1", proxy.port) as client:
            assert await closed(client)
        tasks.cancel_scope.cancel()


async def test_a_connection_that_is_held_twice_is_released_at_once() -> None:
    async with network() as net, await net.connect() as client:
        assert await ask(client, b"1") == b"echo 1"
        net.proxy.hold()
        await client.send(b"2")
        assert await silent(client)
        net.proxy.hold()
        net.proxy.release(cut=False)
        assert await hear(client) == b"echo 2"
