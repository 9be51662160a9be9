"""What one user, one message and one node cost each part, and a model of more nodes, held against runs of 4 and 8."""

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
PAIRS: Final = 336  # shares out evenly over every two of 2, 4 and 8 nodes
QUIET_SECONDS: Final = 4.0

Tell = Callable[[str], None]


class Quiet(Struct):
    """What a second costs while nobody says anything."""

    commands: float  # of Redis
    node_us: float  # CPU of all nodes
    redis_us: float


class Users(Struct):
    """What one user costs, logged in and paired."""

    node_bytes: float
    redis_bytes: float
    commands: float  # to log in and meet
    node_us: float
    redis_us: float
    quiet: Quiet  # while all of them say nothing, nodes included


class Scaling(Struct):
    """All that was measured."""

    date: str = ""
    load_average: str = ""
    machine: str = ""
    quiet: dict[int, Quiet] = field(default_factory=dict)  # by nodes, without users
    users: Users | None = None
    loads: dict[int, list[Figures]] = field(default_factory=dict)  # by nodes


def load() -> Scaling:
    """What was measured before; empty if nothing."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Scaling) if RESULTS.exists() else Scaling()


def study(tell: Tell, *, quick: bool) -> None:
    """Measure all of it, and keep it."""
    found = Scaling(time.strftime("%Y-%m-%d %H:%M", time.gmtime()), runs.load_average())
    sitting = runs.Sitting()
    runs.describe(sitting)
    found.machine = sitting.machine
    share = 0.4 if quick else 1.0
    for nodes in NODES:
        with running(SYSTEMS["relay-json"], nodes) as target:
            time.sleep(1)  # a node's first second is not like the others
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
    """Costs of a message, in a cluster of `nodes` that carries `rate` messages a second between any two of them.

    What goes from one node to another within `gather` seconds shares one PUBLISH. A message is two pieces of mail, its
    text and its acknowledgement, so 2 commands where nothing is gathered. There are nodes * (nodes - 1) such ways.
    Where nothing goes the other way for ACK_SECONDS a link acknowledges with a frame of its own. `gather` doesn't
    change with the number of nodes, as if each had cores of its own.
    """

    gather: float  # seconds
    quiet: float  # commands a second of each node, whatever is said
    node_us: float  # CPU of the nodes, a message, whatever is gathered
    node_command_us: float  # and for each command
    redis_command_us: float

    def commands(self, nodes: int, rate: float) -> float:
        """Redis commands a message."""
        ways = nodes * (nodes - 1)
        mail = 2 / (1 + 2 * rate * self.gather / ways)
        frames = rate * mail / ways * ACK_SECONDS  # on one way, while an acknowledgement waits
        return mail * (1 + math.exp(-frames) / (1 + frames)) + nodes * self.quiet / rate

    def nodes_cpu(self, nodes: int, rate: float) -> float:
        """Microseconds of all nodes, a message."""
        return self.node_us + self.node_command_us * self.commands(nodes, rate)

    def redis_cpu(self, nodes: int, rate: float) -> float:
        """Microseconds of Redis, a message."""
        return self.redis_command_us * self.commands(nodes, rate)


def fit(low: Figures, high: Figures, quiet: float) -> Model:
    """From two runs of two nodes, at a low and at a high rate; `quiet`: commands a second of a quiet node."""
    mail = high.commands - 2 * quiet / high.load.rate  # at a high rate links don't acknowledge with frames of their own
    gather = max(0.0, (2 / mail - 1) / high.load.rate)
    low_us, high_us = low.cpu_us - low.redis_us, high.cpu_us - high.redis_us
    each = max(0.0, (low_us - high_us) / ((low.commands - high.commands) or 1))
    redis = (low.redis_us + high.redis_us) / (low.commands + high.commands)
    return Model(gather, quiet, max(0.0, high_us - each * high.commands), each, redis)
