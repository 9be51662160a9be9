"""The costs of a user, a message and a node, and a model of more nodes that is compared with runs of 4 and 8."""

import math
import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct, field

from benchmarks import install, runs
from benchmarks.measure import Figures, Load, connected, measure
from benchmarks.systems import SYSTEMS, Running, running
from relay.bus.reliable_link import ACK_SECONDS

RESULTS: Final = install.WORK / "scaling.json"
NODES: Final = (2, 4, 8)
RATES: Final = (500, 4000)  # messages a second; the model is fitted to the runs of two nodes with these
USERS: Final = Load(1500, seconds=0)
PAIRS: Final = 336  # pairs, which divide evenly over every two of 2, 4 and 8 nodes
QUIET_SECONDS: Final = 4.0

Tell = Callable[[str], None]


class Quiet(Struct):
    """The cost of a second without any message."""

    commands: float  # Redis commands
    node_us: float  # CPU of all nodes
    redis_us: float


class Users(Struct):
    """The cost of one user who is logged in and paired."""

    node_bytes: float
    redis_bytes: float
    commands: float  # Redis commands to log in and meet
    node_us: float
    redis_us: float
    quiet: Quiet  # the cost of a second while no user sends anything, nodes included


class Scaling(Struct):
    """All results."""

    date: str = ""
    load_average: str = ""
    machine: str = ""
    quiet: dict[int, Quiet] = field(default_factory=dict)  # by number of nodes, without users
    users: Users | None = None
    loads: dict[int, list[Figures]] = field(default_factory=dict)  # by number of nodes


def load() -> Scaling:
    """Return the earlier results, which are empty if there are none."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Scaling) if RESULTS.exists() else Scaling()


def study(tell: Tell, *, quick: bool) -> None:
    """Measure everything, and keep the results."""
    found = Scaling(time.strftime("%Y-%m-%d %H:%M", time.gmtime()), runs.load_average())
    sitting = runs.Sitting()
    runs.describe(sitting)
    found.machine = sitting.machine
    share = 0.4 if quick else 1.0
    for nodes in NODES:
        with running(SYSTEMS["relay-json"], nodes) as target:
            time.sleep(1)  # the first second of a node is not typical
            found.quiet[nodes] = _quiet(target, QUIET_SECONDS * share)
            if nodes == NODES[0]:
                found.users = _users(target, QUIET_SECONDS * share)
            found.loads[nodes] = [measure(target, Load(PAIRS, rate=rate, seconds=4 * share)) for rate in RATES]
        tell(f"scaling: {nodes} nodes, {found.quiet[nodes].commands:.0f} commands a second when quiet")
    found.load_average += f" to {runs.load_average()}"
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def _quiet(target: Running, seconds: float) -> Quiet:
    (nodes, server), commands, began = target.cpu(), target.commands(), time.monotonic()
    time.sleep(seconds)
    (nodes_now, server_now), commands_now = target.cpu(), target.commands()
    seconds = time.monotonic() - began
    return Quiet(
        max(0, commands_now - commands - 1) / seconds,
        (nodes_now - nodes) / seconds * 1e6,
        (server_now - server) / seconds * 1e6,
    )


def _users(target: Running, seconds: float) -> Users:
    (nodes, server), commands, memory = target.cpu(), target.commands(), target.redis_memory()
    with connected(target, USERS) as (figures, _):
        (nodes_now, server_now), commands_now, memory_now = target.cpu(), target.commands(), target.redis_memory()
        quiet = _quiet(target, seconds)
    count = 2 * USERS.pairs
    return Users(
        figures.bytes_a_connection,
        (memory_now - memory) / count,
        (commands_now - commands) / count,
        (nodes_now - nodes) / count * 1e6,
        (server_now - server) / count * 1e6,
        quiet,
    )


class Model(Struct, frozen=True):
    """The cost of a message, in a cluster of `nodes` that carries `rate` messages a second between any two of them.



    Messages from one node to another within `gather` seconds share one PUBLISH. A message is two peer messages, its
    text and its acknowledgement, so it costs 2 commands if nothing is gathered. There are nodes * (nodes - 1)
    directions between two nodes. If a link has no traffic in the other direction for ACK_SECONDS, it acknowledges with
    a frame of its own. `gather` doesn't change with the number of nodes, as if each had cores of its own.
    """

    gather: float  # seconds
    quiet: float  # commands a second of each node, independent of the load
    node_us: float  # CPU of the nodes for a message, independent of commands
    node_command_us: float  # CPU of the nodes for each command
    redis_command_us: float

    def commands(self, nodes: int, rate: float) -> float:
        """Return the Redis commands for a message."""
        ways = nodes * (nodes - 1)
        mail = 2 / (1 + 2 * rate * self.gather / ways)
        frames = rate * mail / ways * ACK_SECONDS  # frames in one direction while an acknowledgement waits
        return mail * (1 + math.exp(-frames) / (1 + frames)) + nodes * self.quiet / rate

    def nodes_cpu(self, nodes: int, rate: float) -> float:
        """Return the microseconds of all nodes for a message."""
        return self.node_us + self.node_command_us * self.commands(nodes, rate)

    def redis_cpu(self, nodes: int, rate: float) -> float:
        """Return the microseconds of Redis for a message."""
        return self.redis_command_us * self.commands(nodes, rate)


def fit(low: Figures, high: Figures, quiet: float) -> Model:
    """Fit the model to runs of two nodes at a low and a high rate. `quiet` is the commands a second of a quiet node."""
    mail = high.commands - 2 * quiet / high.load.rate  # at a high rate no link acknowledges with frames of its own
    gather = max(0.0, (2 / mail - 1) / high.load.rate)
    low_us, high_us = low.cpu_us - low.redis_us, high.cpu_us - high.redis_us
    each = max(0.0, (low_us - high_us) / ((low.commands - high.commands) or 1))
    redis = (low.redis_us + high.redis_us) / (low.commands + high.commands)
    return Model(gather, quiet, max(0.0, high_us - each * high.commands), each, redis)
