"""Starts a cluster for a run that names no server: two nodes on an embedded server, as `relay up` starts them."""

import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from relay.configuration.config import StartError
from relay.tools.bench.run_settings import Address, Target
from relay.tools.testbed.certificates import make_certificate
from relay.tools.testbed.process import Process
from relay.tools.testbed.waiting import until

NODES: Final = 2
START_SECONDS: Final = 30.0  # for all nodes and their server, on a busy machine too
# All users connect from this machine, so the limits for one address must not apply.
_A_CROWD: Final = ("--max-claims", "0", "--max-connections-per-address", "0")
_COMMAND: Final = (sys.executable, "-P", "-m", "relay", "up", "--port", "0", "--nodes", str(NODES), *_A_CROWD)
_LISTENING: Final = re.compile(r" listening .*\baddress=(\S+):(\d+)")


@asynccontextmanager
async def own_cluster(*, tls: bool) -> AsyncIterator[Target]:
    """Run a cluster and yield its addresses. Raises StartError. Enter it from the main thread (see `parent_guard`)."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        log = Path(folder) / "up.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
        ca = None
        if tls:
            certificate = make_certificate(Path(folder))
            environment["RELAY_TLS_CERT"], environment["RELAY_TLS_KEY"] = map(str, certificate)
            ca = str(certificate[0])
        process = Process(_COMMAND, log, environment)

        def addresses() -> tuple[Address, ...]:
            return tuple((host, int(port)) for host, port in _LISTENING.findall(log.read_text(errors="replace")))

        process.start()
        try:
            await until(lambda: len(addresses()) == NODES or not process.alive, START_SECONDS)
            if len(addresses()) != NODES:
                words = log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise StartError(f"the cluster doesn't start: {words.removeprefix('relay: ') or 'it says nothing'}")
            yield Target(addresses(), ca)
        finally:
            with anyio.CancelScope(shield=True):
                await process.end(signal.SIGTERM)
