"""Whose death matters to a node with many users: found out without holding them up."""

from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from relay.neighbours import SLICE, Neighbours

pytestmark = pytest.mark.anyio

HERE, THERE, OTHER, LINKED = (digit * 16 for digit in "1234")
SLICES = 4


def partner_at(uid: str | None) -> SimpleNamespace:
    """A session with a partner there."""
    chat = SimpleNamespace(partner=SimpleNamespace(uid=uid)) if uid else None
    return SimpleNamespace(chat=chat, pairing=SimpleNamespace(step=None))


async def test_all_are_looked_at_a_slice_in_each_turn_of_the_loop() -> None:
    uids = [THERE, *[None] * (SLICES * SLICE - 3), HERE, OTHER]
    node: Any = SimpleNamespace(uid=HERE, sessions=dict(enumerate(map(partner_at, uids))))
    bus: Any = SimpleNamespace(waiting=lambda: {LINKED})
    watched: list[set[str]] = []

    async def look() -> None:
        watched.append(await Neighbours(node, bus).watched())

    turns = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        while not watched:
            turns += 1
            await checkpoint()
    assert watched == [{THERE, OTHER, LINKED}]
    assert turns >= SLICES
