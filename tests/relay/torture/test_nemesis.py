"""A failover as the nemesis makes it, with servers that only keep a record of what is done to them."""

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import anyio
import pytest

from relay.torture import nemesis
from relay.torture.history import Fault
from relay.torture.lab import Lab, Node
from relay.torture.nemesis import Nemesis
from relay.torture.servers import Server, Servers

pytestmark = pytest.mark.anyio

SEEDS = range(6)  # of which some draw a kill, and some a freeze


class Recorded(Server):
    """Never started."""

    def __init__(self, folder: Path, deeds: list[str]) -> None:
        super().__init__(folder)
        self.deeds = deeds

    def tell(self, number: signal.Signals) -> None:
        self.deeds.append(number.name)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        self.deeds.append(number.name)
        return -number

    async def serve(self, *, remember: bool = False) -> None:
        self.deeds.append("serve")


class RecordedServers(Servers):
    """A primary that can be replaced, or not yet."""

    def __init__(self, folder: Path) -> None:
        self.deeds: list[str] = []
        self.prepared = True
        super().__init__([Recorded(folder, self.deeds)])

    async def ready(self) -> bool:
        await anyio.sleep(0.003)  # a real one is asked, and another fault may begin meanwhile
        return self.prepared

    async def replaced(self, old: Server) -> None:
        assert old is self.members[0]
        await anyio.sleep(0.003)
        self.deeds.append("replaced")


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedServers]:
    monkeypatch.setattr(nemesis, "LEASE", 0.001)
    monkeypatch.setattr(nemesis, "PAUSE_SECONDS", (0.0, 0.001))
    servers = RecordedServers(tmp_path / "server")
    yield servers
    for server in servers.members:
        server.state.close()


async def rage(servers: Servers, folder: Path, seed: int, seconds: float = 0.2) -> list[Fault]:
    lab = Lab(servers, [Node(0, ["none"], folder, servers.url, None)], [])
    doing = Nemesis(lab, ["failover"], Random(seed), time.monotonic)
    await doing.rage(seconds)
    return doing.faults


async def test_the_old_primary_comes_back_when_it_is_replaced(servers: RecordedServers, tmp_path: Path) -> None:
    seen = set()
    for seed in SEEDS:
        servers.deeds.clear()
        faults = await rage(servers, tmp_path, seed)
        deeds = list(zip(*[iter(servers.deeds)] * 3, strict=True))
        assert len(deeds) == len(faults) > 0
        assert all((fault.kind, fault.node) == ("failover", -1) for fault in faults)
        assert all(before.span.ended <= after.span.began for before, after in pairwise(faults))
        seen.update(deeds)
    assert seen == {("SIGKILL", "replaced", "serve"), ("SIGSTOP", "replaced", "SIGCONT")}


async def test_none_begins_before_a_replica_could_take_over(servers: RecordedServers, tmp_path: Path) -> None:
    servers.prepared = False
    assert await rage(servers, tmp_path, 1) == []
    assert servers.deeds == []
