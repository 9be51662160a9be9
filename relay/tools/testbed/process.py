"""Processes of a testbed, which can be killed, frozen and started again."""

import atexit
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relay.process import parent_guard
from relay.tools.testbed.waiting import until

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 20.0  # for a node or a server to accept connections
port_keepers: Final[list[socket.socket]] = []  # open until this process ends; see `free_port`


@atexit.register
def _close_port_keepers() -> None:
    for keeper in port_keepers:
        keeper.close()


class Process:
    """A program that can't outlive this one, and can be killed, frozen and started again."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program. It may be started again after its end."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                parent_guard.command(self._command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, or None while the process runs."""
        return self._process.poll() if self._process is not None else None

    def tell(self, number: signal.Signals) -> None:
        """Send a signal if the process still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal that ends the process, wait for its end, and return the exit status."""
        if self._process is None:
            return 0
        self.tell(signal.SIGCONT)
        self.tell(number)
        process = self._process
        await until(lambda: process.poll() is not None)
        assert process.stdin is not None
        process.stdin.close()
        return process.returncode


def free_port() -> int:
    """Return a free port, which no other program is given before this process ends.

    A bound socket that doesn't listen keeps the port: the system then chooses it neither for a server that takes any
    port nor for an outgoing connection, also while the server that it is for is down. Servers set SO_REUSEADDR, so they
    can listen on it, and until they do, connections to it are refused.
    """
    keeper = socket.socket()
    keeper.bind((HOST, 0))
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port_keepers.append(keeper)
    port: int = keeper.getsockname()[1]
    return port
