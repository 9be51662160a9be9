"""The faults of the nemesis, on servers that only record them."""

import re
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import anyio
import pytest

from relay.tools.testbed.redis_servers import Server, Servers
from relay.tools.testbed.topology_setup import EVERYWHERE
from relay.tools.torture import nemesis
from relay.tools.torture.lab import Lab, Node
from relay.tools.torture.nemesis import Nemesis
from relay.tools.torture.run_settings import ALIVE_SECONDS

pytestmark = pytest.mark.anyio

SEEDS = range(6)  # some of the seeds draw a kill, and some a freeze


class Recorded(Server):
    """A server that is never started."""

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
    """A primary that can be replaced, or can't be replaced yet."""

    url = "redis://nowhere"

    def __init__(self, folder: Path) -> None:
        self.deeds: list[str] = []
        self.prepared = True
        self.found: list[str] = []  # the failures that checks return
        super().__init__([Recorded(folder, self.deeds)])

    async def ready(self) -> bool:
        await anyio.sleep(0.003)  # a real server needs time to answer, and another fault may begin meanwhile
        return self.prepared

    async def replaced(self, old: Server) -> None:
        assert old is self.members[0]
        await anyio.sleep(0.003)
        self.deeds.append("replaced")

    async def switch(self) -> Server:
        self.deeds.append("switch")
        return self.members[0]

    async def alive(self, nodes: list[int], slots: Sequence[range], seconds: float) -> list[str]:
        """Check as users would. The nemesis must not inject faults meanwhile."""
        assert (nodes, list(slots), seconds) == ([0], list(EVERYWHERE), ALIVE_SECONDS)
        before = list(self.deeds)
        await anyio.sleep(0.005)
        assert self.deeds == before
        self.deeds.append("alive")
        return self.found


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedServers]:
    monkeypatch.setattr(nemesis, "LEASE", 0.001)
    monkeypatch.setattr(nemesis, "PAUSE_SECONDS", (0.0, 0.001))
    servers = RecordedServers(tmp_path / "server")
    yield servers
    for server in servers.members:
        server.state.close()


async def rage(
    servers: RecordedServers, folder: Path, seed: int, kind: str = "failover", seconds: float = 0.2
) -> Nemesis:
    lab = Lab(servers, [Node(0, ["none"], folder, servers.url, None)], [])
    doing = Nemesis(lab, [kind], Random(seed), time.monotonic, servers.alive)
    await doing.rage(seconds)
    return doing


async def test_the_old_primary_comes_back_when_it_is_replaced(servers: RecordedServers, tmp_path: Path) -> None:
    seen = set()
    for seed in SEEDS:
        servers.deeds.clear()
        faults = (await rage(servers, tmp_path, seed)).faults
        assert all(deed == "alive" for before, deed in pairwise(servers.deeds) if before == "replaced")
        assert servers.deeds.count("alive") == 2 * len(faults), "and once more after each"
        deeds = list(zip(*[(deed for deed in servers.deeds if deed != "alive")] * 3, strict=True))
        assert len(deeds) == len(faults) > 0
        assert all((fault.kind, fault.node) == ("failover", -1) for fault in faults)
        assert all(before.span.ended <= after.span.began for before, after in pairwise(faults))
        seen.update(deeds)
    assert seen == {("SIGKILL", "replaced", "serve"), ("SIGSTOP", "replaced", "SIGCONT")}


async def test_a_failure_while_the_old_primary_is_away_is_told_though_it_comes_back(
    servers: RecordedServers, tmp_path: Path
) -> None:
    servers.found = ["nobody gets in"]
    dead = (await rage(servers, tmp_path, 1, seconds=0.02)).dead
    assert re.fullmatch(r"the primary on port \d+ (killed|frozen) and replaced, at [\d.]+ s: nobody gets in", dead[0])
    assert re.fullmatch(r"after failover, at [\d.]+ s: nobody gets in", dead[1])


async def test_a_switch_leaves_the_old_primary_alive(servers: RecordedServers, tmp_path: Path) -> None:
    faults = (await rage(servers, tmp_path, 1, "switch")).faults
    assert {fault.kind for fault in faults} == {"switch"}
    assert servers.deeds.count("switch") == len(faults)
    assert set(servers.deeds) == {"switch", "alive"}


async def test_no_fault_begins_before_a_replica_could_take_over(servers: RecordedServers, tmp_path: Path) -> None:
    servers.prepared = False
    assert (await rage(servers, tmp_path, 1)).faults == []
    assert servers.deeds == []
