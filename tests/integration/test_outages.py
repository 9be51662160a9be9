"""Redis is away for longer than a lease, under traffic: local chats go on, other messages wait, and nothing is lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.party import LEASE
from tests.support.server import RedisServer
from tests.support.swarm import Program, Swarm, alive, couples, until
from tests.support.thieves import Thieves

RATE = 10  # messages a second from each program
PAIRS = 10
SOON = 1.0  # seconds in which a claim or a call is refused
BACK = 3.0  # seconds from the return of Redis until messages across nodes flow

Outage = Callable[[RedisServer, float], None]


def killed(server: RedisServer, seconds: float) -> None:
    server.process.kill()
    time.sleep(seconds)
    server.start()


def asleep(server: RedisServer, seconds: float) -> None:
    server.client(socket_timeout=2 * seconds).execute_command(  # type: ignore[no-untyped-call]
        "DEBUG", "SLEEP", seconds
    )


def paused(server: RedisServer, seconds: float) -> None:
    server.client().client_pause(round(seconds * 1000))
    time.sleep(seconds)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", ["--enable-debug-command", "local"])
    yield server
    server.stop()


def risen(programs: list[Program], heard: list[int]) -> bool:
    """Return whether each has received more than before."""
    return all(program.heard > then for program, then in zip(programs, heard, strict=True))


OUTAGES = [
    (killed, 3.5),
    (paused, 3.5),
    pytest.param(killed, 20.0, marks=pytest.mark.slow),
    pytest.param(asleep, 15.0, marks=pytest.mark.slow),
    pytest.param(paused, 20.0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("outage", "seconds"), OUTAGES)
def test_chats_survive_an_outage(
    guests: Guests, start_node: StartNode, own_redis: RedisServer, outage: Outage, seconds: float
) -> None:
    one, two = (start_node(redis=own_redis.url, grace=30) for _ in range(2))
    across = couples(PAIRS, [one.address], [two.address])
    beside = [Program(f"{n}", [one.address]) for n in range(2 * PAIRS)]
    newcomer, caller = guests.json(one), guests.json(one, "caller")
    guests.json(two, "callee")
    refusals: list[float] = []

    def ask() -> None:
        """Claim names and call users while Redis is away."""
        asked = time.monotonic()
        newcomer.send("hello", name="newcomer")
        caller.send("to", name="callee")
        newcomer.expect_error("unavailable", name="newcomer")
        caller.expect_error("unavailable", name="callee")
        refusals.append(time.monotonic() - asked)

    async def scene() -> Swarm:
        async with alive(across + beside) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, RATE, seconds + 2)
                await anyio.sleep(0.5)
                async with anyio.create_task_group() as outside:
                    outside.start_soon(anyio.to_thread.run_sync, outage, own_redis, seconds)
                    await anyio.sleep(0.5)
                    for _ in range(2):
                        await anyio.to_thread.run_sync(ask)
                    still = [program.heard for program in beside]
                    await anyio.sleep(max(0, seconds - 1.5 - sum(refusals)))
                    assert risen(beside, still)
                heard = [program.heard for program in across]
                await until(lambda: risen(across, heard), lambda: "messages across nodes flow again", BACK)
            await swarm.settle()
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0
    assert max(refusals) < SOON


@pytest.mark.parametrize("stall", [*(pytest.param(stall, marks=pytest.mark.slow) for stall in (0.75, 0.9)), 1.1])
def test_after_a_stall_of_redis_the_owners_come_first(
    guests: Guests, start_node: StartNode, own_redis: RedisServer, stall: float
) -> None:
    """After a stall of about a lease some nodes' leases have lapsed, and anybody may be the first to be served."""
    nodes = [start_node(redis=own_redis.url) for _ in range(4)]
    people = [guests.text(node, f"person{n}") for n, node in enumerate(nodes)]
    for n, person in enumerate(people[::2]):
        person.call(f"person{2 * n + 1}")
        people[2 * n + 1].expect(f"* person{2 * n} is chatting with you.")
    thieves = Thieves(nodes, [f"person{n}" for n in range(len(nodes))], stall * LEASE + 3)
    thieves.start()
    own_redis.process.pause()
    time.sleep(stall * LEASE)  # the length of the stall is what is tested
    own_redis.process.resume()
    thieves.join()
    assert thieves.stolen == []
    for n, person in enumerate(people):
        person.send("still here")
        people[n ^ 1].expect_message(f"person{n}", "still here")
