"""What a node looks after from time to time: its memory, peers that are gone, and nodes that are."""

from typing import Final

import anyio
import structlog

from relay.bus.bus import Bus
from relay.directory.node_liveness import NodeLiveness
from relay.hub.hub import Hub
from relay.metrics import Limit
from relay.tasks.batches import in_slices

# How often the budget is shared out: a flood brings some ten megabytes meanwhile, at the speed of a machine.
BUDGET_SECONDS: Final = 0.1
# How often to look for nodes that may be forgotten.
LINKS_SECONDS: Final = 1.0
# Looked at in one turn of the loop: a tenth of a millisecond for memory, half of one for peers, which asks the kernel.
SLICE: Final = 50
# Those who had to stop hear of more room once there is so many times as much. To ask thousands takes a while, and whose
# partner reads is asked with each acknowledgement.
WORTH: Final = 2
# Nodes that are named in one line of the log.
NAMED: Final = 8

log = structlog.get_logger()


async def mind_memory(hub: Hub) -> None:
    """For ever: look at what is held, and share the budget out."""
    memory_budget = hub.memory_budget
    heard_of = memory_budget.allowance  # the least that those who wait may know of
    while True:
        await anyio.sleep(BUDGET_SECONDS)
        hub.watch_the_entrance(BUDGET_SECONDS)
        held = []
        async for client in in_slices(hub.holders(), SLICE):
            held.append(client.held_bytes)
            if not held[-1]:
                hub.holding.discard(client)
        short = memory_budget.short
        memory_budget.look(held)
        hub.go_on_with_halves()
        if memory_budget.short and not short:
            hub.counts.hit(Limit.MEMORY)
        heard_of = min(heard_of, memory_budget.allowance)
        if memory_budget.allowance >= WORTH * heard_of:
            heard_of = memory_budget.allowance
            hub.call_on()


async def mind_peers(hub: Hub, seconds: float) -> None:
    """For ever, every so often: look for clients whose machine is gone."""
    while True:
        await anyio.sleep(seconds)
        async for client in in_slices(hub.clients, SLICE):
            client.check_peer()


async def mind_links(bus: Bus, peers: NodeLiveness) -> None:
    """For ever: forget nodes that have been silent, and have had no lease, for long enough."""
    while True:
        await anyio.sleep(LINKS_SECONDS)
        node_ids = bus.doubtful()
        if node_ids and (gone := bus.judge(node_ids, await peers.absent(node_ids))):
            peers.forget(gone)
            log.info(
                "nodes forgotten: they have had no lease for a while", uids=" ".join(gone[:NAMED]), nodes=len(gone)
            )
