"""The network among the servers of a cluster, whole and with one of them cut off."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import anyio.abc
import pytest
from anyio.abc import ByteStream, SocketStream

from relay.tools.testbed.gossip_proxy import Gossip
from relay.tools.testbed.process import HOST
from tests.support.process import PATIENCE

pytestmark = pytest.mark.anyio

SILENCE = 0.1  # seconds, in which anything on the loopback interface would arrive
IDS = [letter * 40 for letter in "abc"]


def packet(sender: int, text: bytes) -> bytes:
    """Return the beginning of a packet between servers of a cluster."""
    return bytes(40) + IDS[sender].encode() + text


class Network:
    """Three servers that echo, and the proxies before their ports."""

    def __init__(self, gossip: Gossip) -> None:
        self.gossip = gossip

    async def dial(self, sender: int, to: int) -> SocketStream:
        """Connect one server to another."""
        stream = await anyio.connect_tcp(HOST, self.gossip.ports[to])
        await stream.send(packet(sender, b"1"))
        return stream


async def echo(stream: ByteStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send(data[-1:])


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        listeners = [await stack.enter_async_context(await anyio.create_tcp_listener(local_host=HOST)) for _ in IDS]
        for listener in listeners:
            tasks.start_soon(listener.serve, echo)
        gossip = Gossip([listener.extra(anyio.abc.SocketAttribute.local_port) for listener in listeners])
        await tasks.start(gossip.run)
        yield Network(gossip)
        tasks.cancel_scope.cancel()


async def hears(stream: SocketStream, patience: float) -> bytes:
    """What comes within so many seconds, or nothing."""
    with anyio.move_on_after(patience):
        return await stream.receive()
    return b""


async def test_everything_passes(net: Network) -> None:
    async with await net.dial(0, 1) as link:
        with anyio.fail_after(PATIENCE):
            assert await link.receive() == b"1"
            await link.send(packet(0, b"2"))
            assert await link.receive() == b"2"


@pytest.mark.parametrize(("sender", "to", "passes"), [(0, 1, False), (1, 0, False), (1, 2, True), (2, 1, True)])
async def test_nothing_passes_to_or_from_a_server_that_is_cut_off(
    net: Network, sender: int, to: int, passes: bool
) -> None:
    patience = PATIENCE if passes else SILENCE
    async with await net.dial(sender, to) as link:
        with anyio.fail_after(PATIENCE):
            assert await link.receive() == b"1"
        net.gossip.cut(0, IDS[0])
        await link.send(packet(sender, b"2"))
        assert await hears(link, patience) == (b"2" if passes else b"")
        async with await net.dial(sender, to) as another:
            assert await hears(another, patience) == (b"1" if passes else b"")


async def test_healed_links_are_made_anew_and_pass(net: Network) -> None:
    async with await net.dial(0, 1) as link:
        with anyio.fail_after(PATIENCE):
            assert await link.receive() == b"1"
            net.gossip.cut(0, IDS[0])
            await link.send(packet(0, b"2"))
            net.gossip.heal()
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await link.receive()
            async with await net.dial(0, 1) as another:
                assert await another.receive() == b"1"
