"""Clients that continuously claim names of other users."""

import math
import threading
import time
from collections.abc import Sequence

from tests.support.clients import JsonClient
from tests.support.node import Node


class Thieves(threading.Thread):
    """One client for each name on each node. They run for `seconds`, until `stop`, or until one of them gets a name."""

    def __init__(self, nodes: Sequence[Node], names: Sequence[str], seconds: float = math.inf) -> None:
        super().__init__()
        self._claims = [(JsonClient(node.address), name) for node in nodes for name in names]
        self._seconds = seconds
        self._stopped = threading.Event()
        self.attempts = 0
        self.stolen: list[str] = []

    def stop(self) -> None:
        """Let the present round of claims be the last one."""
        self._stopped.set()

    def run(self) -> None:
        end = time.monotonic() + self._seconds
        try:
            while time.monotonic() < end and not self.stolen and not self._stopped.is_set():
                for client, name in self._claims:
                    client.send("hello", name=name)
                self.stolen = [name for client, name in self._claims if client.frame()["type"] == "welcome"]
                self.attempts += len(self._claims)
        finally:
            for client, _ in self._claims:
                client.close()
