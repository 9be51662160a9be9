"""Writes the measured part of docs/scaling.md, between two marks. The rest of the page is written by hand."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.scale import RATES, Model, Scaling, Users, fit

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN: Final = "<!-- measured: python -m benchmarks scaling -->"
END: Final = "<!-- end of measured -->"

# The calculation assumes this about users and machines.
MESSAGES_A_MINUTE: Final = 1.0  # messages of one user, on average over all that are online
BUSY: Final = 0.6  # share of a core; above it queues grow
NODE_BYTES: Final = 2 * 2**30  # memory for one node's users
USERS_A_NODE: Final = 50_000  # connections; half of the ports behind one address of a load balancer
CROWDS: Final = (10**5, 10**6, 10**7)


def write(found: Scaling) -> None:
    """Put the tables into the page. Without results the page stays as it is."""
    if found.users is None:
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(_tables(found, found.users)) + f"\n{END}{after}")


def _tables(found: Scaling, users: Users) -> Iterator[str]:
    two = found.loads[2]
    model = fit(two[0], two[1], found.quiet[2].commands / 2)
    quiet = found.quiet[2]
    yield f"\n{found.date} UTC, {found.machine}; load average {found.load_average}, generator included.\n"
    yield "| costs | nodes: memory | nodes: CPU | Redis: memory | Redis: CPU | Redis: commands |"
    yield "| --- | --: | --: | --: | --: | --: |"
    yield (
        f"| a user who logs in and meets somebody | {users.node_bytes / 1024:.1f} KiB | {users.node_us:,.0f} µs | "
        f"{users.redis_bytes:,.0f} B | {users.redis_us:,.0f} µs | {users.commands:.2f} |"
    )
    more = max(0.0, users.quiet.commands - quiet.commands) / 3000
    yield f"| a user who says nothing, each second | | | | | {more:.4f} |"
    yield (
        f"| a node without users, each second | | {quiet.node_us / 2:,.0f} µs | | {quiet.redis_us / 2:,.0f} µs | "
        f"{quiet.commands / 2:.1f} |"
    )
    for one in two:
        yield (
            f"| a message, two nodes, {one.load.rate:,} a second | | {one.cpu_us - one.redis_us:,.0f} µs | | "
            f"{one.redis_us:,.1f} µs | {one.commands:.2f} |"
        )
    yield from _model(found, model)
    yield from _crowds(found, users, model)


def _model(found: Scaling, model: Model) -> Iterator[str]:
    yield "\n### The model against runs of 2, 4 and 8 nodes\n"
    yield (
        f"Fitted to the two runs of two nodes: messages gather for {model.gather * 1e3:.2f} ms; a message costs the "
        f"nodes {model.node_us:.0f} µs and {model.node_command_us:.0f} µs for each command, Redis "
        f"{model.redis_command_us:.0f} µs a command. Then asked about the others.\n"
    )
    yield (
        "| nodes | messages/s | commands a message: measured | model | nodes' CPU: measured | model "
        "| Redis' CPU: measured | model |"
    )
    yield "| --: | --: | --: | --: | --: | --: | --: | --: |"
    for nodes, loads in found.loads.items():
        for one in loads:
            rate = one.load.rate
            yield (
                f"| {nodes} | {rate:,} | {one.commands:.2f} | {model.commands(nodes, rate):.2f} | "
                f"{one.cpu_us - one.redis_us:.0f} µs | {model.nodes_cpu(nodes, rate):.0f} µs | "
                f"{one.redis_us:.1f} µs | {model.redis_cpu(nodes, rate):.1f} µs |"
            )
    yield (
        "\nThe model gives every node cores of its own. Here all nodes, Redis and the generator share what the machine "
        "has: they wait for each other and more messages gather meanwhile. So at the high rate there are fewer "
        "commands than the model says: it is an upper bound there, not a forecast."
    )
    yield "\n| nodes, quiet | commands a second | of a node |\n| --: | --: | --: |"
    for nodes, quiet in found.quiet.items():
        yield f"| {nodes} | {quiet.commands:.0f} | {quiet.commands / nodes:.1f} |"


class Reckoning(Struct):
    """The nodes and the Redis that a number of users needs."""

    users: int
    rate: float
    nodes: int
    reason: str  # the resource that decides the number of nodes
    redis_cores: float  # cores of one server, for messages and for the nodes themselves
    redis_bytes: float
    everyone_back: float  # seconds until all have logged in again, with half of the nodes' CPU


def reckon(count: int, users: Users, model: Model) -> Reckoning:
    """Calculate the nodes for this number of users, and their load on Redis.



    The number of nodes and the size of batches depend on each other, so the calculation is repeated.
    """
    rate = count * MESSAGES_A_MINUTE / 60
    nodes = 2
    for _ in range(20):
        by_cpu = rate * model.nodes_cpu(nodes, rate) / 1e6 / BUSY
        by_memory = count * users.node_bytes / NODE_BYTES
        by_connections = count / USERS_A_NODE
        reasons = {"CPU": by_cpu, "memory": by_memory, "connections": by_connections, "one may fail": 2.0}
        nodes = max(2, math.ceil(max(reasons.values())))
    commands = rate * model.commands(nodes, rate)
    return Reckoning(
        count,
        rate,
        nodes,
        max(reasons, key=lambda name: reasons[name]),
        commands * model.redis_command_us / 1e6,
        count * users.redis_bytes,
        max(count * users.node_us / 1e6 / (nodes * 0.5), count * users.redis_us / 1e6),
    )


def _crowds(found: Scaling, users: Users, model: Model) -> Iterator[str]:
    yield "\n### 10⁵, 10⁶ and 10⁷ users\n"
    yield (
        f"Supposed: {MESSAGES_A_MINUTE:g} message a minute from each, all cross-node; a node uses {BUSY:.0%} of a "
        f"core, {NODE_BYTES // 2**30} GiB and {USERS_A_NODE:,} connections at most. Reckoned from the costs above, "
        "not measured.\n"
    )
    yield "| users | messages/s | nodes, and why | Redis: cores for messages | Redis: memory | all log in again |"
    yield "| --: | --: | --- | --: | --: | --: |"
    for count in CROWDS:
        one = reckon(count, users, model)
        yield (
            f"| {count:,} | {one.rate:,.0f} | {one.nodes:,} ({one.reason}) | {one.redis_cores:.2f} | "
            f"{one.redis_bytes / 2**30:.2f} GiB | {one.everyone_back:,.0f} s |"
        )
    limit = found.quiet[2].commands / 2
    most = BUSY * 1e6 / model.redis_command_us
    yield (
        f"\nOne Redis core at {BUSY:.0%} carries about {most:,.0f} commands a second: that many PUBLISH, or "
        f"{most / 2:,.0f} messages a second where nothing gathers. {most / limit:,.0f} nodes without any user would "
        f"use it up too.\n\nEach figure rests on runs at {' and '.join(f'{rate:,}' for rate in RATES)} messages/s on a "
        "shared machine; take them as orders of magnitude."
    )
