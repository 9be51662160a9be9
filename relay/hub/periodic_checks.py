"""The periodic tasks of a node: they share out its memory, and find clients and nodes that are gone."""

from typing import Final

import anyio
import structlog

from relay.bus.bus import Bus
from relay.directory.node_liveness import NodeLiveness
from relay.hub.hub import Hub
from relay.metrics import Limit
from relay.tasks.batches import in_slices, slices

# The interval at which the budget is shared out. Meanwhile a flood brings some ten megabytes, at a machine's speed.
BUDGET_SECONDS: Final = 0.1
# The interval at which the node looks for other nodes that it may forget.
LINKS_SECONDS: Final = 1.0
# This many clients are checked in one iteration of the loop. That takes a tenth of a millisecond for memory, and half
# of one for TCP peers, for which the kernel is asked.
SLICE: Final = 50
# Clients that had to stop are woken once there is this many times as much room. To wake thousands takes a while, and a
# client whose partner reads is woken by each acknowledgement anyway.
WORTH: Final = 2
# One line of the log names at most this many nodes.
NAMED: Final = 8

log = structlog.get_logger()


async def share_out_memory(hub: Hub) -> None:
    """Measure, again and again, the memory that clients hold, and share the budget out."""
    memory_budget = hub.memory_budget
    heard_of = memory_budget.allowance  # the smallest allowance that may have stopped a waiting client
    while True:
        await anyio.sleep(BUDGET_SECONDS)
        hub.update_login_queue(BUDGET_SECONDS)
        held = []
        async for clients in slices(hub.connected_memory_holders(), SLICE):
            for client in clients:
                held.append(client.held_bytes)
                if not held[-1]:
                    hub.memory_holders.pop(client, None)
        short = memory_budget.short
        memory_budget.share_out(held)
        hub.give_partial_line_turns()
        if memory_budget.short and not short:
            hub.counts.hit(Limit.MEMORY)
        heard_of = min(heard_of, memory_budget.allowance)
        if memory_budget.allowance >= WORTH * heard_of:
            heard_of = memory_budget.allowance
            hub.call_on()


async def check_tcp_peers(hub: Hub, seconds: float) -> None:
    """Check every `seconds` whether the clients' machines still answer. Never returns."""
    while True:
        await anyio.sleep(seconds)
        async for client in in_slices(hub.clients, SLICE):
            client.check_tcp_peer()


async def forget_lost_nodes(bus: Bus, node_liveness: NodeLiveness) -> None:
    """Forget, again and again, the nodes that have been silent and without a lease for long enough."""
    while True:
        await anyio.sleep(LINKS_SECONDS)
        node_ids = bus.doubtful()
        if node_ids and (gone := bus.judge(node_ids, await node_liveness.absent(node_ids))):
            node_liveness.forget(gone)
            log.info(
                "nodes forgotten: they have had no lease for a while", uids=" ".join(gone[:NAMED]), nodes=len(gone)
            )
