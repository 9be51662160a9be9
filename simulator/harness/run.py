"""One run: traffic and faults in rounds, quiet after each, and the check of what everybody saw."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import anyio
from msgspec import Struct, field

from relay.protocol.errors import Reason
from relay.tools.testbed.topology_setup import EVERYWHERE
from relay.tools.testbed.waiting import until
from relay.tools.torture import checker, client_driver, smoke_check
from relay.tools.torture.checker import Verdict
from relay.tools.torture.client_driver import ClientDriver, Stranger, User
from relay.tools.torture.history import History, Kind
from relay.tools.torture.json_client import JsonClient
from relay.tools.torture.newcomers import Newcomers
from relay.tools.torture.run_settings import ALIVE_SECONDS, RECOVERY_SECONDS
from relay.tools.torture.single_run import KINDS
from relay.tools.torture.text_client import TextClient
from simulator.errors import SimulationError
from simulator.harness.correspondents import Correspondent, wrong
from simulator.harness.faults import Faults
from simulator.harness.invariants import LIBRARY, Invariants
from simulator.harness.plan import CALM, ENGINES, GRACE, LEASE, Plan
from simulator.harness.seams import run_by_anyio
from simulator.harness.stage import Stage
from simulator.trace import Trace, TraceHash

ROUND_SECONDS: Final = (5.0, 15.0)  # of faults, until everything has to work again
WARM_UP_SECONDS: Final = 1.0
STATE_LINES: Final = 12  # of what all processes wait for, when nothing can happen any more
QUIET_SECONDS: Final = 1.0  # after the last outcome, for messages that must not arrive any more
STRANGERS: Final = 2
# How probable it is that what users leave behind is looked for, as that takes a grace, and this much more.
LOOKED_AT: Final = 0.25
LEFT_SECONDS: Final = 5.0 + 2 * LEASE
WEB: Final = 0.5  # how probable it is that the programs of a seed come over WebSocket and TCP by turns
# A rule about shares of all messages, which one short run may break by chance. A batch has it.
OF_BATCHES: Final = "refusing"
# The most virtual time of a run beyond that of its faults: a run that takes longer hangs.
BEYOND_SECONDS: Final = 300.0


class Outcome(Struct):
    """What came of a run."""

    plan: Plan
    violations: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # what happened to nodes and sessions, for the gates
    said: int = 0
    delivered: int = 0
    lost: int = 0  # messages that are unconfirmed as a session or a name was lost
    seconds: float = 0.0  # virtual
    events: int = 0
    digest: str = ""

    @property
    def clean(self) -> bool:
        """Whether no promise was broken."""
        return not self.violations


class _Run:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.plan = stage.plan
        self.world = stage.world
        self.history = History()
        self.violations: dict[str, list[str]] = {}
        self.over = False
        self.invariants = Invariants(stage)
        self._engine = ENGINES[self.plan.engine]
        web = self.world.stream("web").random() < WEB
        addresses = [node.address for node in stage.nodes]
        self._players = client_driver.Stage(addresses, lambda: self.world.now, GRACE, web=web)
        names = [f"u{number}" for number in range(self.plan.users)]
        self._users = [self._make(name, KINDS[number % len(KINDS)], names) for number, name in enumerate(names)]
        self._players.calm = self.plan.calm or self.world.stream("calm").choice(CALM)
        self._pair = self._correspondents()
        self._looks = 0
        self._faults: Faults | None = None

    def _make(self, name: str, kind: Kind, names: list[str], *, stranger: bool = False) -> User:
        role = f"stranger {name} {self.world.now}" if stranger else f"user {name}"
        make = TextClient if kind is Kind.PERSON else None
        rng = self.world.stream(role)
        if make is not None:
            return make(name, self.history, rng, names, stranger=stranger)
        return JsonClient(name, kind, self.history, rng, names, stranger=stranger)

    def _correspondents(self) -> tuple[Correspondent, Correspondent]:
        servers = [f"{host}:{port}" for host, port in self._players.addresses]

        def make(name: str, partner: str, *, calls: bool) -> Correspondent:
            rng = self.world.stream(f"correspondent {name}")
            return Correspondent(
                name, partner, servers, rng, lambda: self._players.acting, calls=calls, calm=self._players.calm
            )

        return make("lib0", "lib1", calls=True), make("lib1", "lib0", calls=False)

    def broken(self, rule: str, *what: str) -> None:
        """Note what must not be."""
        if what:
            self.violations.setdefault(rule, []).extend(what)

    async def play(self) -> None:
        """Be all people, and the director of everything that happens."""
        run_by_anyio()
        serving = await until(lambda: all(node.serving for node in self.stage.nodes), 20.0)
        if not serving:
            self.broken("start", "not all nodes serve after 20 s")
            return
        self.invariants.remember_tasks()
        async with anyio.create_task_group() as players:
            for user in self._users:
                rng = self.world.stream(f"player {user.name}")
                players.start_soon(ClientDriver(user, self._players, rng).run)
            await self._until_all(lambda user: user.ready, "has no session at the start", self.world.now + 10.0)
            self._players.acting = True
            self.world.note("run", "all users are in")
            for number in range(STRANGERS):
                players.start_soon(self._stranger(number).run)
            for correspondent in self._pair:
                players.start_soon(correspondent.run)
            arrivals = Newcomers(self._players, self.world.stream("newcomers"), self.history.arrivals)
            players.start_soon(arrivals.run)
            await anyio.sleep(WARM_UP_SECONDS)
            await self._trouble()
            await self._quiet()
            # A session whose client went to another node may stay behind for its grace, if its node wasn't told.
            await until(lambda: not self.invariants.when_quiet(), GRACE + LEASE)
            self.broken("invariants", *self.invariants.when_quiet())
            self._players.over = True
            players.cancel_scope.cancel()
        if self.world.stream("leftovers").random() < LOOKED_AT:
            self.world.note("run", "everybody is gone")
            await until(lambda: not self.invariants.left_over(), GRACE + LEFT_SECONDS)
            self.broken("left over", *self.invariants.left_over())

    def _stranger(self, number: int) -> Stranger:
        rng: Random = self.world.stream(f"stranger {number}")
        names = [user.name for user in self._users]

        def make(name: str) -> User:
            return self._make(name, rng.choice(KINDS), names, stranger=True)

        return Stranger(make, names, self._players, rng)

    async def _trouble(self) -> None:
        self._faults = faults = Faults(self.stage, self.history.faults, self._alive)
        rng, end = self.world.stream("rounds"), self.world.now + self.plan.seconds
        while self.world.now < end:
            await faults.rage(min(rng.uniform(*ROUND_SECONDS), end - self.world.now))
            await self._look(f"after the faults until {self.world.now:.1f} s")
        self.broken("faults", *faults.breaking.failures)
        self.broken("dead", *faults.breaking.dead)

    async def _look(self, when: str) -> None:
        """Check that everything works for new users within the bound."""
        self.world.note("run", when)
        self.broken("dead", *(f"{when}: {what}" for what in await self._alive(ALIVE_SECONDS)))

    async def _quiet(self) -> None:
        """Stop new traffic. Everything has to be settled soon, and nothing may arrive after that."""
        self._players.acting = False
        self.world.note("run", "nobody says anything new")
        recovery = RECOVERY_SECONDS[self._engine]
        last = self.world.now + recovery + GRACE
        self.broken("recovery", *await self._alive(recovery))
        await self._until_all(lambda user: user.ready, "is not back", last)
        await self._until_all(lambda user: user.settled, "waits for the outcome of messages", last)
        await until(lambda: all(one.settled for one in self._pair), max(0.0, last - self.world.now))
        self.broken("recovery", *(f"{one.name} isn't settled" for one in self._pair if not one.settled))
        self.world.note("run", "everything has its outcome")
        await anyio.sleep(QUIET_SECONDS)
        one, other = self._pair
        self.broken("library", *wrong(one, other), *wrong(other, one))
        await until(lambda: not self._lopsided(), max(0.0, last - self.world.now))

    def _lopsided(self) -> bool:
        self.history.views = [view for user in self._users if (view := user.view()) is not None]
        return any(checker.lopsided(self.history))

    async def _until_all(self, true: Callable[[User], bool], complaint: str, last: float) -> None:
        await until(lambda: all(map(true, self._users)), max(0.0, last - self.world.now))
        self.broken("recovery", *(f"{user.name} {complaint}" for user in self._users if not true(user)))

    async def _alive(
        self, seconds: float, nodes: Sequence[int] | None = None, slots: Sequence[range] = EVERYWHERE
    ) -> list[str]:
        """See `Alive`. Each of the nodes is tried with the next one."""
        self._looks += 1
        some = range(self.plan.nodes) if nodes is None else nodes
        failures: list[str] = []

        async def try_pair(a: int, b: int) -> None:
            here, there = self._players.addresses[a], self._players.addresses[b]
            step = await smoke_check.fails(here, there, f"look{self._looks}-{a}-{b}", seconds, slots=slots)
            if step:
                failures.append(f"two new users on nodes {a} and {b} fail within {seconds:.1f} s: {step}")

        async with anyio.create_task_group() as tasks:
            for a, b in zip(some, (*some[1:], *some[:1]), strict=True):
                tasks.start_soon(try_pair, a, b)
        return failures

    @property
    def by_library(self) -> int:
        """The number of texts that came by the client library."""
        return sum(len(one.heard) for one in self._pair)

    def verdict(self) -> Verdict:
        """Check what everybody saw."""
        return checker.check(self.history, lease=LEASE, grace=GRACE)


def run(plan: Plan, trace: Trace | None = None) -> Outcome:
    """Carry a plan out."""
    digest = TraceHash()

    def both(when: float, where: str, what: str) -> None:
        digest(when, where, what)
        if trace is not None:
            trace(when, where, what)

    outcome = Outcome(plan)
    with Stage(plan, digest if trace is None else both) as stage:
        doing = _Run(stage)
        stage.open()
        people = stage.people.process("people")
        people.start(doing.play)
        stage.world.looks = doing.invariants.look
        try:
            ended = stage.world.run(lambda: not people.alive, plan.seconds + BEYOND_SECONDS)
            if not ended:
                doing.broken("hangs", f"the run isn't over at {stage.world.now:.0f} s")
        except SimulationError as error:
            doing.broken("simulation", "\n    ".join(str(error).splitlines()[:STATE_LINES]))
        if people.error is not None:
            doing.broken("simulation", _words(people.error))
        doing.broken("invariants", *doing.invariants.broken)
        doing.broken("errors", *stage.diary.errors)
        verdict = doing.verdict()
        for rule, lines in verdict.violations.items():
            if rule != OF_BATCHES:
                doing.broken(rule, *lines)
        outcome.violations, outcome.said, outcome.delivered = doing.violations, verdict.said, verdict.delivered
        outcome.lost = sum(verdict.unconfirmed.get(reason, 0) for reason in (Reason.LOST, Reason.NAME_LOST))
        outcome.faults = dict(Counter(fault.kind for fault in doing.history.faults))
        outcome.counts = doing.invariants.close()
        outcome.counts[LIBRARY] = doing.by_library
        outcome.seconds, outcome.events = stage.world.now, digest.events
    outcome.digest = digest.hexdigest()
    return outcome


def _words(error: BaseException) -> str:
    """Return an error of the harness with its place."""
    if isinstance(error, BaseExceptionGroup):
        return _words(error.exceptions[0])
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "nowhere"
    return f"{type(error).__name__}: {error} ({where})"
