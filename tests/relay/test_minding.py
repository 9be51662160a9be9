"""What a node looks after from time to time doesn't hold up those who talk."""

from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from relay import minding

pytestmark = pytest.mark.anyio

CLIENTS = 3 * minding.SLICE


class Client:
    def __init__(self) -> None:
        self.looks = 0

    def check_peer(self) -> None:
        self.looks += 1


class Router:
    def __init__(self) -> None:
        self.outlets = [Client() for _ in range(CLIENTS)]

    @property
    def looks(self) -> int:
        return sum(client.looks for client in self.outlets)


async def test_whether_peers_are_there_is_looked_at_in_slices() -> None:
    router = Router()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(minding.mind_peers, cast(Any, router), 0.0)
        most = before = 0
        while router.looks < 2 * CLIENTS:
            await checkpoint()
            most, before = max(most, router.looks - before), router.looks
        tasks.cancel_scope.cancel()
    assert most == minding.SLICE
    assert {client.looks for client in router.outlets} == {2}, "each in its turn"
