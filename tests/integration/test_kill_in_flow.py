"""kill -9 of nodes under traffic: programs that acknowledge by themselves resume at once and miss nothing."""

import anyio
import pytest

from tests.integration.conftest import StartNode
from tests.support.swarm import Swarm, alive, couples

PAIRS = 50
RATE = 20  # messages a second from each program
AT_ONCE = 1.0  # second from a new connection until the session is resumed; no lease is waited for
LEASE = 5.0  # seconds; longer than that
GRACE = 30.0


@pytest.mark.parametrize(
    "killed", [*(pytest.param(whose, marks=pytest.mark.slow) for whose in ("the callers'", "the callees'")), "both"]
)
def test_programs_resume_at_once_and_nothing_is_lost_doubled_or_reordered(start_node: StartNode, killed: str) -> None:
    one, two, three, four = (start_node(lease=LEASE, grace=GRACE) for _ in range(4))
    victims = {"the callers'": [one], "the callees'": [two], "both": [one, two]}[killed]
    programs = couples(PAIRS, [one.address, three.address, four.address], [two.address, four.address, three.address])

    async def scene() -> Swarm:
        async with alive(programs) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, RATE, 2.5)
                await anyio.sleep(1)
                for victim in victims:
                    victim.kill()
            await swarm.settle()
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert len(swarm.returns) == PAIRS * len(victims)
    assert max(swarm.returns) < AT_ONCE
