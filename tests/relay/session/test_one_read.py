"""What a client says in one read reaches its partner in that order, on one node and across two."""

import json

import anyio
import pytest

from relay.session.runtime_interface import Limits
from tests.relay.twins import Twins

HELLO = b'{"type":"hello","name":"%b"}\n'
READ = b"".join(
    line + b"\n"
    for line in (
        b'{"type":"to","name":"ben"}',
        b'{"type":"msg","id":1,"text":"one"}',
        b'{"type":"msg","id":2,"text":"two"}',
        b'{"type":"msg","id":3,"text":"three"}',
        b'{"type":"leave"}',
    )
)


async def heard(nodes: tuple[int, int]) -> list[tuple[str, str]]:
    """Return what ben is told, and of each message its text."""
    async with Twins(Limits(), max_line=200) as twins:
        ann, ben = (twins.wire(node) for node in nodes)
        ann.send(HELLO % b"ann")
        ben.send(HELLO % b"ben")
        await twins.settle()
        ben.lines()
        ann.send(READ)
        await twins.settle()
        frames = map(json.loads, ben.lines())
        return [(frame["type"], frame.get("text", "")) for frame in frames]


@pytest.mark.parametrize("nodes", [(0, 0), (0, 1)], ids=["one node", "two nodes"])
def test_lines_said_in_one_read_reach_the_partner_in_their_order(nodes: tuple[int, int]) -> None:
    assert anyio.run(heard, nodes) == [
        ("paired", ""),
        ("msg", "one"),
        ("msg", "two"),
        ("msg", "three"),
        ("left", ""),
    ]
