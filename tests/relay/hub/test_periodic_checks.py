"""Periodic checks of a node don't delay its users."""

from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from structlog.testing import capture_logs

from relay.bus.reliable_link import Kind, pack
from relay.hub import periodic_checks
from relay.redis_client.keys import Keys
from tests.relay.bus_desk import THERE, Desk
from tests.relay.desk import until

pytestmark = pytest.mark.anyio

CLIENTS = 3 * periodic_checks.SLICE


class Client:
    def __init__(self) -> None:
        self.looks = 0

    def check_tcp_peer(self) -> None:
        self.looks += 1


class Router:
    def __init__(self) -> None:
        self.clients = [Client() for _ in range(CLIENTS)]

    @property
    def looks(self) -> int:
        return sum(client.looks for client in self.clients)


async def test_whether_tcp_peers_are_there_is_checked_in_slices() -> None:
    hub = Router()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(periodic_checks.check_tcp_peers, cast(Any, hub), 0.0)
        most = before = 0
        while hub.looks < 2 * CLIENTS:
            await checkpoint()
            most, before = max(most, hub.looks - before), hub.looks
        tasks.cancel_scope.cancel()
    assert most == periodic_checks.SLICE
    assert {client.looks for client in hub.clients} == {2}, "each in its turn"


async def test_dead_nodes_are_forgotten_wherever_they_were_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_checks, "LINKS_SECONDS", 0.001)
    desk = Desk(lease_seconds=0.0)
    forgotten: list[str] = []

    class Peers:
        async def absent(self, node_ids: list[str]) -> set[str]:
            return set(node_ids)

        def forget(self, node_ids: list[str]) -> None:
            forgotten.extend(node_ids)

    desk.hear(pack(Kind.ACK, THERE, bytes(8), 0))
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(periodic_checks.forget_lost_nodes, desk.bus, cast(Any, Peers()))
            await until(lambda: forgotten)
            tasks.cancel_scope.cancel()
    assert (forgotten, desk.publisher.forgotten, desk.bus.links) == ([THERE], [Keys("t").inbox(THERE)], 0)
    assert [(line["nodes"], line["uids"]) for line in lines] == [(1, THERE)]
