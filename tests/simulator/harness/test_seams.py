"""What the code of relay gets from its machine in a simulated world."""

import anyio

from relay.redis_client.dns_lookup import LOOKUP_SECONDS, STALE_SECONDS, Lookup
from simulator.harness.seams import run_by_anyio, seams
from simulator.network import Network
from simulator.world import World


def test_a_name_is_looked_up_again_and_a_silent_name_server_is_not_waited_for() -> None:
    found, waited = list[str](), list[float]()

    async def look_up() -> None:
        run_by_anyio()
        lookup = Lookup()
        while True:
            began = anyio.current_time()
            try:
                found.append((await lookup.places("redis", 6379))[0].address[0])
            except TimeoutError:
                found.append("nothing")
            waited.append(round(anyio.current_time() - began, 1))
            await anyio.sleep(10.0)

    with World() as world, seams(world):
        network = Network(world)
        network.names.hanging.add("*")
        network.host("node", "10.0.0.1").process("node").start(look_up)
        world.run_for(5.0)
        network.names.hanging.clear()
        network.names.set("redis", "10.0.1.1")
        world.run_for(10.0)
        network.names.set("redis", "10.0.1.2")
        world.run_for(10.0)
        network.names.hanging.add("*")
        world.run_for(10.0)
    assert found == ["nothing", "10.0.1.1", "10.0.1.2", "10.0.1.2"]
    assert waited == [LOOKUP_SECONDS, 0.0, 0.0, STALE_SECONDS]
