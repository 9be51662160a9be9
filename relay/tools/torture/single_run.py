"""One run: a fresh cluster, traffic, faults, quiet, and the check."""

import importlib.util
import re
import shutil
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import anyio
from msgspec import Struct, field

from relay.configuration.config import StartError, one_start_error
from relay.tools.testbed import certificates
from relay.tools.testbed.topology_setup import EVERYWHERE
from relay.tools.testbed.user_connection import look_up
from relay.tools.testbed.waiting import until
from relay.tools.torture import checker, lab, smoke_check
from relay.tools.torture.checker import Verdict
from relay.tools.torture.client_driver import ClientDriver, Stage, Stranger, User
from relay.tools.torture.history import History, Kind
from relay.tools.torture.json_client import JsonClient
from relay.tools.torture.lab import Lab
from relay.tools.torture.nemesis import Nemesis
from relay.tools.torture.newcomers import Newcomers
from relay.tools.torture.run_settings import RunSettings
from relay.tools.torture.text_client import TextClient

WARM_UP_SECONDS: Final = 2.0  # before the first fault, so that sessions exist when memory is measured
QUIET_SECONDS: Final = 1.0  # after the last outcome, for messages that must not arrive any more
# The kinds of ten users: programs, programs whose node acknowledges for them, and people.
KINDS: Final = (*[Kind.PROGRAM] * 6, Kind.LAZY, Kind.LAZY, Kind.PERSON, Kind.PERSON)
STRANGERS: Final = 3
# The most by which a node may have grown at the end. Python keeps some memory that it once needed.
GROWTH_BYTES: Final = 48 * 1024 * 1024

UVLOOP: Final = importlib.util.find_spec("uvloop") is not None
_ERROR: Final = re.compile(r"^\S+ (error|critical) .*", re.MULTILINE)


class Result(Struct):
    """The outcome of a run."""

    settings: RunSettings
    verdict: Verdict
    faults: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    seconds: float = 0.0
    folder: str = ""  # the folder with the logs of all nodes, or "" if none were kept

    @property
    def clean(self) -> bool:
        """Whether no promise was broken."""
        return self.verdict.clean


Tell = Callable[[str], None]


async def run(settings: RunSettings, tell: Tell = lambda _: None) -> Result:
    """Carry the run out. Calls `tell` with each line of progress. Raises StartError."""
    folder = Path(tempfile.mkdtemp(prefix="relay-torture-"))
    try:
        with one_start_error():
            for server in settings.servers:
                await look_up(server)
            certificate = certificates.make_certificate(folder) if settings.tls and not settings.servers else None
            tls = (
                certificates.client_context(str(certificate[0]) if certificate else settings.ca)
                if settings.tls
                else None
            )
            async with _cluster(settings, folder, certificate) as cluster:
                campaign = _Campaign(settings, cluster, tell, tls)
                result = await campaign.run()
    except StartError:
        _remove_if_empty(folder)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if result.clean:
        shutil.rmtree(folder)
    else:
        campaign.write_notes(folder)
        result.folder = str(folder)
    return result


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder unless it holds logs: the error names one of them."""
    with suppress(OSError):
        folder.rmdir()


@asynccontextmanager
async def _cluster(
    settings: RunSettings, folder: Path, certificate: certificates.Certificate | None
) -> AsyncIterator[Lab | None]:
    if settings.servers:
        yield None
    else:
        async with lab.build(folder, settings.nodes, settings.command, settings.engine, certificate) as cluster:
            yield cluster


class _Campaign:
    """One run against one cluster. `lab` is None if the run didn't start the cluster itself."""

    def __init__(self, settings: RunSettings, lab: Lab | None, tell: Tell, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._lab = lab
        self._tell = tell
        self._began = time.monotonic()
        self._history = History()
        addresses = list(settings.servers) if lab is None else [lab.address(node.number) for node in lab.nodes]
        self.stage = Stage(addresses, self._clock, settings.grace, tls, web=settings.ws)
        self._users = self._cast()
        self._failures: dict[str, list[str]] = {}
        self._checks = 0  # checks whether everything works
        self._usual = 0.0  # seconds that a check takes without faults

    def _clock(self) -> float:
        return time.monotonic() - self._began

    def _rng(self, *role: object) -> Random:
        """Return a random generator for a role, so that roles don't influence each other."""
        return Random(f"{self._settings.seed}/{'/'.join(map(str, role))}")

    def _cast(self) -> list[User]:
        tag = f"t{self._settings.seed:x}" if self._lab is None else "u"
        names = [f"{tag}{number}" for number in range(self._settings.users)]
        return [self._make(name, KINDS[number % len(KINDS)], names) for number, name in enumerate(names)]

    def _make(self, name: str, kind: Kind, names: list[str], *, stranger: bool = False) -> User:
        rng = self._rng("user", name) if not stranger else self._rng("stranger", name, self._clock())
        if kind is Kind.PERSON:
            return TextClient(name, self._history, rng, names, stranger=stranger)
        return JsonClient(name, kind, self._history, rng, names, stranger=stranger)

    async def run(self) -> Result:
        """Run traffic and faults, then a quiet phase, then the check."""
        async with anyio.create_task_group() as players:
            for user in self._users:
                players.start_soon(ClientDriver(user, self.stage, self._rng("player", user.name)).run)
            await self._until_all(lambda user: user.ready, "has no session at the start", self._settings.recovery)
            self.stage.acting = True
            for number in range(STRANGERS):
                players.start_soon(self._stranger(number).run)
            players.start_soon(Newcomers(self.stage, self._rng("newcomers"), self._history.arrivals).run)
            await anyio.sleep(WARM_UP_SECONDS)
            memory = self._memory()
            await self._measure()
            await self._trouble()
            await self._quiet()
            verdict = checker.check(self._history, lease=self._settings.lease, grace=self._settings.grace)
            await self._check_cluster(memory)
            self.stage.over = True
            players.cancel_scope.cancel()
        verdict.violations |= {rule: lines for rule, lines in self._failures.items() if lines}
        counts: dict[str, int] = {}
        for fault in self._history.faults:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
        return Result(self._settings, verdict, counts, len(self._history.sessions), self._clock())

    def _stranger(self, number: int) -> Stranger:
        rng = self._rng("stranger", number)
        names = [user.name for user in self._users]

        def make(name: str) -> User:
            return self._make(name, rng.choice(KINDS), names, stranger=True)

        return Stranger(make, names, self.stage, rng)

    async def _measure(self) -> None:
        """Measure how long a check takes on this machine with its current load."""
        began = self._clock()
        everyone = list(range(len(self.stage.addresses)))
        self._failures["dead"] = await self._alive(everyone, EVERYWHERE, self._settings.recovery)
        self._usual = self._clock() - began

    async def _trouble(self) -> None:
        if self._lab is None:
            await anyio.sleep(self._settings.seconds)
            return
        nemesis = Nemesis(self._lab, list(self._settings.faults), self._rng("nemesis"), self._clock, self._alive)
        self._history.faults = nemesis.faults
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._progress)
            await nemesis.rage(self._settings.seconds)
            tasks.cancel_scope.cancel()
        self._failures["dead"] += nemesis.dead

    async def _progress(self) -> None:
        while True:
            await anyio.sleep(5)
            ready = sum(user.ready for user in self._users)
            last = self._history.faults[-1].kind if self._history.faults else "none"
            heard = len(self._history.heard)
            self._tell(
                f"{self._clock():5.0f} s  {heard} messages, {ready} of {len(self._users)} users in, fault: {last}"
            )

    async def _quiet(self) -> None:
        """Stop new traffic. Every message must have its outcome soon, and none may arrive after that."""
        healed = self._clock()
        self.stage.acting = False
        everyone = list(range(len(self.stage.addresses)))
        self._failures["recovery"] = await self._alive(everyone, EVERYWHERE, self._settings.recovery)
        # A name may still belong, for the grace period, to a client that has vanished.
        last = healed + self._settings.recovery + self._settings.grace
        await self._until_all(lambda user: user.ready, "is not back", last)
        await self._until_all(lambda user: user.settled, "waits for the outcome of messages", last)
        await anyio.sleep(QUIET_SECONDS)
        await until(lambda: not self._lopsided(), max(0.0, last - self._clock()))

    def write_notes(self, folder: Path) -> None:
        """Write the log of faults, and the traffic of each user."""
        self.stage.write_notes(folder)
        faults = (f"{f.span.began:8.3f} {f.span.ended:8.3f} {f.kind} {f.node}\n" for f in self._history.faults)
        (folder / "faults.txt").write_text("".join(faults))

    def _lopsided(self) -> bool:
        self._history.views = [view for user in self._users if (view := user.view()) is not None]
        return any(checker.lopsided(self._history))

    async def _until_all(self, true: Callable[[User], bool], complaint: str, last: float) -> None:
        await until(lambda: all(map(true, self._users)), max(0.0, last - self._clock()))
        late = [f"{user.name} {complaint}" for user in self._users if not true(user)]
        self._failures.setdefault("recovery", []).extend(late)

    async def _alive(self, nodes: list[int], slots: Sequence[range], seconds: float) -> list[str]:
        """Return the failures of new users on any two of these nodes, with names in these slots of a cluster.

        They have `seconds` more than a check takes without faults.
        """
        self._checks += 1
        seconds += self._usual
        tag = f"{self._settings.seed:x}-{self._checks}"
        failures: list[str] = []

        async def try_pair(a: int, b: int) -> None:
            here, there = self.stage.addresses[a], self.stage.addresses[b]
            step = await smoke_check.fails(here, there, f"{tag}-{a}-{b}", seconds, self.stage.tls, slots)
            if step:
                failures.append(f"two new users on nodes {a} and {b} fail within {seconds:.1f} s: {step}")

        async with anyio.create_task_group() as tasks:
            for a in nodes:
                for b in nodes:
                    tasks.start_soon(try_pair, a, b)
        return failures

    def _memory(self) -> list[int]:
        return [node.memory for node in self._lab.nodes] if self._lab else []

    async def _check_cluster(self, memory: list[int]) -> None:
        if self._lab is None:
            return
        self._failures["keys without a TTL"] = await self._lab.keys_without_ttl()
        self._failures["memory"] = [
            f"node {number} grew from {before // 2**20} to {now // 2**20} MiB"
            for number, (before, now) in enumerate(zip(memory, self._memory(), strict=True))
            if now - before > GROWTH_BYTES
        ]
        self._failures["ended"] = [f"node {node.number} ended by itself" for node in self._lab.nodes if not node.alive]
        self._failures["errors"] = [
            f"node {node.number}: {found[0]}"
            for node in self._lab.nodes
            for found in _ERROR.finditer(node.log.read_text(errors="backslashreplace"))
        ]
