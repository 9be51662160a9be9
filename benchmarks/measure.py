"""One run of the load generator, with the CPU and memory that the servers used meanwhile."""

import json
import resource
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from benchmarks import install
from benchmarks.systems import Running

SETUP_SECONDS: Final = 90.0
SETTLE_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.5
QUIET: Final = 0.1  # the share of a core that all servers together use at most when they are quiet
END_SECONDS: Final = 30.0  # seconds for the end of a run, in addition to load and drain


class Load(Struct, frozen=True):
    """The load of a run."""

    pairs: int
    in_flight: int = 1
    rate: int = 0  # messages a second of all users; 0: no fixed rate, each user keeps `in_flight` messages in flight
    seconds: float = 3.0  # seconds of load; 0: users connect only


class Figures(Struct):
    """The result of a run. Latencies are in milliseconds."""

    load: Load
    users_a_second: float  # users a second that connected, logged in and met
    bytes_a_connection: float  # resident memory of the nodes for each connection
    rate: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    lost: int = 0
    cpu_us: float = 0.0  # CPU of nodes and Redis for a message
    redis_us: float = 0.0  # the part of that which is Redis
    commands: float = 0.0  # Redis commands for a message
    generator_busy: float = 0.0  # the share of a core that the generator used


class Failed(Exception):
    """The generator failed: it was refused, a connection was closed, or it gave no answer."""


@contextmanager
def connected(target: Running, load: Load) -> Iterator[tuple[Figures, subprocess.Popen[bytes]]]:
    """Connect all users, and yield the figures of that while they are quiet. Raises Failed."""
    _settle(target)
    memory = target.memory()
    places = "together" if target.system.same_node else "apart"
    words = [places, *map(str, (load.pairs, load.in_flight, load.seconds, load.rate, *target.ports))]
    with subprocess.Popen(
        [str(install.generator()), target.system.driver, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_many_files,
    ) as generator:
        try:
            _, users, took = _line(generator, SETUP_SECONDS).split()
            yield Figures(load, int(users) / float(took), (target.memory() - memory) / int(users)), generator
        finally:
            generator.kill()


def measure(target: Running, load: Load) -> Figures:
    """Run the load, and return its figures. Raises Failed."""
    with connected(target, load) as (figures, generator):
        if load.seconds:
            _measure(target, figures, generator)
        return figures


def _measure(target: Running, figures: Figures, generator: subprocess.Popen[bytes]) -> None:
    assert generator.stdin is not None
    generator.stdin.write(b"go\n")
    generator.stdin.flush()
    before = int(_line(generator, END_SECONDS).split()[1])
    (nodes, server), commands = target.cpu(), target.commands()
    said = json.loads(_line(generator, figures.load.seconds + END_SECONDS))
    (nodes_now, server_now), commands_now = target.cpu(), target.commands()
    received = max(1, said["received"] - before)
    figures.rate, figures.generator_busy = said["rate"], said["own_busy"]
    figures.p50, figures.p90, figures.p99, figures.p999 = (said[key] for key in ("p50", "p90", "p99", "p999"))
    figures.lost = said["sent"] - said["received"]
    figures.cpu_us = (nodes_now - nodes + server_now - server) / received * 1e6
    figures.redis_us = (server_now - server) / received * 1e6
    figures.commands = max(0, commands_now - commands - 1) / received  # one command was this question itself


def _settle(target: Running) -> None:
    """Wait until the servers have finished the work of an earlier run, such as the end of thousands of connections."""
    deadline, used = time.monotonic() + SETTLE_SECONDS, sum(target.cpu())
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        used, before = sum(target.cpu()), used
        if used - before < POLL_SECONDS * QUIET:
            return


def _line(generator: subprocess.Popen[bytes], seconds: float) -> str:
    output = generator.stdout
    assert output is not None
    if not select.select([output], [], [], seconds)[0]:
        raise Failed(f"no answer within {seconds:g} s")
    line = output.readline().decode()
    if not line:
        assert generator.stderr is not None
        raise Failed(generator.stderr.read().decode(errors="replace").strip()[:200] or "the generator ended")
    return line


def _many_files() -> None:
    """Allow this process as many files as possible, because each connection needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
