"""This module starts a few nodes on one Redis for many tests, and checks that no test leaves anything behind."""

import contextlib
import subprocess
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tests.support.clients import JsonClient
from tests.support.node import Node
from tests.support.process import wait_until

LEASE = 2.0  # seconds; short, so that leases expire soon, yet long enough for a busy machine to renew them
GRACE = 2.0  # seconds
OBSERVER = "the-observer"
LAST_WORDS = 0.5  # seconds to wait for a node's last log lines, only after a failure

_serial = count(1)


class Party:
    """Nodes with one key prefix, and an observer, a client that asks for presence."""

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        size: int = 0,
        kinds: Sequence[type[Node]] = (),
        auth: str | None = None,
        **options: str | float,
    ) -> None:
        """Start the nodes: one of each class in `kinds`, or by default `size` nodes of the checkout.

        `auth` is the observer's proof, where names need one.
        """
        self.folder = folder
        self.auth = auth
        self.kinds = kinds or (Node,) * size
        self.observer: JsonClient | None = None
        self.options = {"redis": redis_url, "lease": LEASE, "grace": GRACE, **options}
        self.start()

    def start(self) -> None:
        """Start all nodes concurrently, with a prefix that was not used before."""
        self.prefix = f"party{next(_serial)}"
        self.nodes = [kind(self.folder, wait=False, prefix=self.prefix, **self.options) for kind in self.kinds]
        try:
            for node in self.nodes:
                node.wait_until_listening()
            self.observer = JsonClient(self.nodes[0].address)
            self.observer.hello(OBSERVER, **({"auth": self.auth} if self.auth else {}))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self.observer:
            self.observer.close()
        for node in self.nodes:
            node.kill()

    def wait_for_last_words(self) -> None:
        """Wait shortly for nodes that are about to exit, as a node closes its sockets before it logs the reason."""
        for node in self.nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(LAST_WORDS)

    def check_nothing_is_left(self, names: set[str]) -> None:
        """Check after the clients have left that there is no user, no client socket, and no traceback in a log."""
        for node in self.nodes:
            assert node.alive, f"{node.name} ended with status {node.wait()}:\n{node.text()}"
        for name in names:
            wait_until(lambda name=name: self._gone(name), f"{name} is offline")  # type: ignore[misc]
        for node in self.nodes:
            own = 1 if node is self.nodes[0] else 0
            wait_until(lambda node=node, own=own: node.client_sockets() == own, f"no client sockets at {node.name}")  # type: ignore[misc]
            assert "Traceback" not in node.text(), node.text()

    def _gone(self, name: str) -> bool:
        assert self.observer
        self.observer.send("who", name=name)
        answer = self.observer.frame()
        return answer.get("state") == "offline" or answer.get("code") == "name_invalid"
