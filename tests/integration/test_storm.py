"""A node that holds many programs dies, and all of them come back at once."""

import anyio
import pytest

from tests.integration.conftest import StartNode
from tests.support.swarm import Program, Swarm, alive, couples, percentile, until

BACK = 10.0  # seconds until all are back


@pytest.mark.parametrize("pairs", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_all_programs_of_a_killed_node_are_back_within_ten_seconds_and_miss_nothing(
    start_node: StartNode, pairs: int
) -> None:
    """They wait for nothing and try again at once. Bystanders on the other nodes miss nothing either."""
    one, two, victim = (start_node(grace=30, lease=5) for _ in range(3))
    crowd = couples(pairs, [victim.address, one.address, two.address], [victim.address, two.address, one.address])
    bystanders = couples(10, [one.address], [two.address])
    for n, program in enumerate(bystanders):
        program.name = f"bystander{n}"

    async def scene() -> Swarm:
        async with alive(bystanders) as calm, alive(crowd) as swarm:
            await calm.pair_up()
            await swarm.pair_up(patience=60)
            await calm.talk(20, 2)
            quiet = forget_delays(bystanders)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(calm.talk, 20, 4)
                for program in crowd:
                    program.say()
                victim.kill()
                await until(lambda: all(program.drops for program in crowd), lambda: "all are cut off", BACK)
                await until(lambda: all(program.ready.is_set() for program in crowd), lambda: "all are back", BACK)
                storm = forget_delays(bystanders)
            print(f"resumed after {max(swarm.returns):.2f} s at the most")
            print(f"bystanders' p99: {1000 * quiet:.1f} ms before, {1000 * storm:.1f} ms meanwhile")
            await swarm.settle()
            await calm.settle()
            swarm.programs += calm.programs
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert len(swarm.returns) == 2 * pairs


def forget_delays(programs: list[Program]) -> float:
    """The 99th percentile of the delays up to now, in seconds."""
    delays = sorted(delay for program in programs for delay in program.delays)
    for program in programs:
        program.delays.clear()
    return percentile(delays, 0.99)
