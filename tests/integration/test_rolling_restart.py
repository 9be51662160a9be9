"""Nodes are restarted one after the other while programs talk: nothing is lost, and partners see one absence."""

from collections import Counter

import anyio
import pytest

from tests.integration.conftest import StartNode
from tests.support.node import Node
from tests.support.swarm import Program, Swarm, alive

PAIRS = 50
RATE = 20  # messages a second from each program
NODES = 3
GRACE = 30.0  # seconds
DRAIN = 10.0  # seconds; no program needs as many
BETWEEN = 2.0  # seconds of talk between two restarts


class Mover(Program):
    """A program that moves to another node when it is told to."""

    def _take(self, frame: dict[str, object]) -> None:
        super()._take(frame)
        if frame["type"] == "moving":
            raise ConnectionError("moving")


@pytest.mark.timeout(180)
def test_nothing_is_lost_and_each_move_is_one_absence_at_most(start_node: StartNode) -> None:
    nodes = [start_node(drain=DRAIN, grace=GRACE) for _ in range(NODES)]
    places = [node.address for node in nodes]
    programs = [
        Mover(f"{side}{pair}", places[(pair + shift) % NODES :] + places[: (pair + shift) % NODES])
        for pair in range(PAIRS)
        for side, shift in (("a", 0), ("b", 1))
    ]

    def restart(node: Node) -> None:
        node.terminate()
        assert node.wait(DRAIN) == 0
        start_node(port=node.address[1], drain=DRAIN, grace=GRACE)

    async def roll(swarm: Swarm) -> None:
        for node in nodes:
            await anyio.to_thread.run_sync(restart, node)
            await anyio.sleep(BETWEEN)  # the programs talk meanwhile

    async def scene() -> Swarm:
        async with alive(programs) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, RATE, 3600.0)
                await roll(swarm)
                tasks.cancel_scope.cancel()
            await swarm.settle()
            return swarm

    swarm = anyio.run(scene)
    moves = {program.name: sum(frame["type"] == "moving" for frame in program.told) for program in swarm.programs}
    for program in swarm.programs:
        program.told = [frame for frame in program.told if frame["type"] != "moving"]
        assert program.partner is not None
        seen = Counter(frame["type"] for frame in program.told)
        assert max(seen["away"], seen["back"]) <= moves[program.partner.name], f"{program}: {program.told}"
    swarm.check()
    assert sum(moves.values()) >= NODES * PAIRS // 2
