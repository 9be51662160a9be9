"""The times at which a client's connection is read: not whenever it could be."""

import pytest

from relay.session.memory_budget import SHORT_READ_BYTES
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, paired, program, text, until

pytestmark = pytest.mark.anyio

WINDOW = 8
LIMITS = Limits(window=WINDOW)


async def test_a_large_read_is_the_only_one_of_its_turn(wire: Connect) -> None:
    """A transport would read a flood many times before the turn of anyone else."""
    client = await program(wire, b"ann")
    client.send(b'{"type":"ping"}\n' * 8)
    assert client.reading
    client.send(b'{"type":"ping","ref":"%b"}\n' % (b"x" * SHORT_READ_BYTES))
    assert not client.reading
    await until(lambda: client.reading)


async def test_nothing_is_read_behind_the_end_of_the_stream(wire: Connect) -> None:
    """Reading had paused when the client ended, and its earlier lines are handled all the same."""
    ann, ben = await text(wire, b"ann"), await program(wire, b"ben", b"true")
    await paired(ann, ben, b"ben")
    ann.send(b"x\n" * (WINDOW + 1))
    assert not ann.reading
    ann.end()
    await until(lambda: ben.sent.count(b'"text"') == WINDOW)
    ben.send(b'{"type":"ack","id":%d}\n' % WINDOW)
    await until(lambda: ben.sent.count(b'"text"') == WINDOW + 1)
    ben.send(b'{"type":"ack","id":%d}\n' % (WINDOW + 1))
    await until(lambda: ann.closed)
    assert not ann.reading
