"""A node with many programs dies, and all of them come back at once."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.integration.conftest import StartNode
from tests.support.bystanders import Bystanders
from tests.support.swarm import Swarm, alive, couples, percentile, until

BACK = 10.0  # seconds until all are back
CROWD = 1000  # pairs
QUIET_SECONDS = 2.0  # seconds for which bystanders are measured before
BUSY = 2  # programs that only count, for comparison: one for each core of a small machine


@contextlib.contextmanager
def others() -> Iterator[None]:
    """Programs that only count."""
    with contextlib.ExitStack() as stack:
        for _ in range(BUSY):
            one = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(one.wait)
            stack.callback(one.kill)
        yield


@pytest.mark.parametrize("pairs", [200, pytest.param(CROWD, marks=pytest.mark.slow)])
def test_all_programs_of_a_killed_node_are_back_within_ten_seconds_and_miss_nothing(
    start_node: StartNode, tmp_path: Path, pairs: int
) -> None:
    """The programs wait for nothing and try again at once, and bystanders on the other nodes miss nothing.

    The delay of the bystanders' messages is printed: before, meanwhile, and beside programs that have nothing to do
    with the relay. The last one shows the part of the machine. The bystanders have their own process, because that of
    the crowd is busy.
    """
    one, two, victim = (start_node(grace=30, lease=5) for _ in range(3))
    crowd = couples(pairs, [victim.address, one.address, two.address], [victim.address, two.address, one.address])
    times: list[float] = []

    async def scene() -> Swarm:
        async with alive(crowd) as swarm:
            await swarm.pair_up(patience=60)
            await anyio.sleep(QUIET_SECONDS)
            times.append(time.monotonic())
            for program in crowd:
                program.say()
            victim.kill()
            await until(lambda: all(program.drops for program in crowd), lambda: "all are cut off", BACK)
            await until(lambda: all(program.ready.is_set() for program in crowd), lambda: "all are back", BACK)
            times.append(time.monotonic())
            await swarm.settle()
            if pairs == CROWD:  # ten seconds that begin with a storm
                await anyio.sleep(times[0] + BACK - time.monotonic())
                with others():
                    times.append(time.monotonic())
                    await anyio.sleep(QUIET_SECONDS)
            return swarm

    with Bystanders(one, two, tmp_path) as calm:
        swarm = anyio.run(scene)
        heard = calm.stop()
    swarm.check()
    assert len(swarm.returns) == 2 * pairs
    killed, back, *busy = times
    print(f"all back {back - killed:.2f} s after the kill")
    spans = {"before": (killed - QUIET_SECONDS, killed), "meanwhile": (killed, back)}
    if busy:
        spans |= {"in ten seconds": (killed, killed + BACK), "beside others": (busy[0], busy[0] + QUIET_SECONDS)}
    for what, (first, last) in spans.items():
        delays = sorted(delay for said, delay in heard if first <= said < last)
        print(f"bystanders' p99 {what}: {1000 * percentile(delays, 0.99):.1f} ms, of {len(delays)} messages")
