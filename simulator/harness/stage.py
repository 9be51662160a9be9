"""The world of a run: the network, the servers of Redis, the nodes, and the machine of the people."""

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Final

from relay.configuration.config import Config
from simulator.harness.databases import Database
from simulator.harness.diary import diary
from simulator.harness.machine import PORT, NodeProcess
from simulator.harness.plan import DRAIN, GRACE, LEASE, Plan
from simulator.harness.seams import seams
from simulator.harness.servers import ENGINES, InCluster
from simulator.network import Network
from simulator.trace import Trace
from simulator.world import World

PREFIX: Final = "relay"
# How probable it is that the clocks of a seed differ, the powers of ten of the seconds by which they are wrong, and the
# most by which one runs too fast or too slowly.
SKEWED: Final = 0.5
WRONG_BY: Final = (-4, 2)
DRIFT: Final = 0.000_3
# How probable it is that a node handles every message in the general way, and never in the usual case.
GENERAL: Final = 0.3


class Stage(AbstractContextManager["Stage"]):
    """Everything that a run consists of. Nothing runs before `open`."""

    def __init__(self, plan: Plan, trace: Trace | None = None) -> None:
        self.plan = plan
        self.world = World(plan.seed, trace)
        self._contexts = ExitStack()
        self.diary = self._contexts.enter_context(diary(self.world))
        self._contexts.enter_context(self.world)
        self._contexts.enter_context(seams(self.world))
        self.network = Network(self.world)
        self.servers = ENGINES[plan.engine](self.world, self.network)
        self.nodes = [self._node(number) for number in range(plan.nodes)]
        self.people = self.network.host("people", "10.0.3.1")
        self.strangers = self.network.host("strangers", "10.0.5.1")  # who mean harm
        self._skew()

    def _node(self, number: int) -> NodeProcess:
        host = self.network.host(f"node{number}", f"10.0.2.{number + 1}")
        config = Config(
            host=host.addresses[0],
            port=PORT,
            redis=self.servers.url,
            prefix=PREFIX,
            name=f"n{number}",
            lease=LEASE,
            grace=GRACE,
            drain=DRAIN,
            general_way=self.world.stream(f"way of node{number}").random() < GENERAL,
        )
        return NodeProcess(number, host, config)

    def _skew(self) -> None:
        """Let the clocks of some seeds differ, as those of real machines do: in what they show, and in their rate."""
        draw = self.world.stream("clocks")
        if draw.random() < SKEWED:
            for host in (*(node.host for node in self.nodes), *self.servers.hosts):
                host.clock.step(draw.choice((-1, 1)) * 10 ** draw.uniform(*WRONG_BY))
                host.clock.run_at(1 + draw.uniform(-DRIFT, DRIFT))

    def open(self) -> None:
        """Start the servers and the nodes."""
        self.servers.start()
        for node in self.nodes:
            node.start()

    @property
    def database(self) -> Database:
        """The server of an engine that has one."""
        (database,) = self.servers.members
        return database

    @property
    def cluster(self) -> InCluster:
        """The servers of a cluster."""
        assert isinstance(self.servers, InCluster)
        return self.servers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.diary.open = False
        for node in self.nodes:  # what still refers to a node would have it collected after its world
            node.node = None
        self._contexts.close()
