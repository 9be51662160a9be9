"""The connections of the users of bench and torture, against scripted servers."""

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketStream
from websockets.frames import Frame, Opcode

from relay.tools.testbed.user_connection import dial
from relay.web.frames import text_frame
from tests.relay.tools.testbed.test_web_lines import answer
from tests.support.process import PATIENCE

pytestmark = pytest.mark.anyio

PING = Frame(Opcode.PING, b"x").serialize(mask=False)


async def handshake(stream: SocketStream) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += await stream.receive()
    return data


async def test_a_ping_that_comes_alone_is_answered_and_is_no_line() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.send(answer(await handshake(stream)))
            await stream.receive()  # the line of the user, who waits for an answer now
            await stream.send(PING)
            pong = await stream.receive()
            assert pong[0] == 0x80 | Opcode.PONG
            await stream.send(text_frame(b"{}"))
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = ("127.0.0.1", listener.extra(anyio.abc.SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        with anyio.fail_after(PATIENCE):
            wire = await dial(address, web=True)
            assert wire is not None
            await wire.send(b"{}\n")
            assert await wire.receive() == b"{}\n"
        tasks.cancel_scope.cancel()
        await wire.aclose()


async def test_where_nobody_speaks_websocket_there_is_no_connection() -> None:
    closed = anyio.Event()

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await handshake(stream)
            await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            closed.set()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = ("127.0.0.1", listener.extra(anyio.abc.SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        with anyio.fail_after(PATIENCE):
            assert await dial(address, web=True) is None
            await closed.wait()
        tasks.cancel_scope.cancel()
