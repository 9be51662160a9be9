"""This module starts real `relay node` processes."""

import contextlib
import http.client
import re
import ssl
import sys
from itertools import count
from pathlib import Path

from tests.support.process import PATIENCE, Process

Address = tuple[str, int]

START_PATIENCE = 30.0  # seconds; a start takes one second of CPU time, and much longer on a busy machine
LAUNCH = (sys.executable, "-m", "relay")  # runs the code of the checkout
LISTEN = "0A"  # the state column of /proc/net/tcp
_serial = count(1)


class Node(Process):
    """One node on free ports of 127.0.0.1. It accepts connections once it is created, unless `wait` is False."""

    launch: tuple[str, ...] = LAUNCH
    tls: ssl.SSLContext | None = None  # the context for its clients

    def __init__(self, folder: Path, *, wait: bool = True, **options: str | float) -> None:
        self._sockets: dict[str, bool] = {}  # by inode, which is never used again: whether it is a client connection
        self.name = f"n{next(_serial):05}"  # one width, so that names sort in the order of their starts
        settings: dict[str, str | float] = {"name": self.name, "port": 0, "classic_port": 0, "http_port": 0, **options}
        super().__init__([*self.launch, *node_command(**settings)[len(LAUNCH) :]], folder / f"{self.name}.log")
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                self.kill()
                raise

    def wait_until_listening(self) -> None:
        """Wait for the log line with the node's addresses, and store them."""
        line = self.wait_for_line("listening", START_PATIENCE)
        self.address = _address(line, "address")
        self.server = "{}:{}".format(*self.address)  # the address in the form of the client's `--server`
        self.classic_address = _address(line, "classic")
        self.http_address = _address(line, "http")

    def readiness(self) -> int:
        """Return the status of `/readyz`: 200, or 404 while the node should get no new clients."""
        return self._get("/readyz")[0]

    def trouble(self) -> str:
        """Return the reason in `/readyz` why the node should get no new clients, or an empty string if it should."""
        status, text = self._get("/readyz")
        return "" if status == http.HTTPStatus.OK else text.strip()

    def metric(self, name: str) -> float:
        """Return a value from `/metrics` that has no labels."""
        return float(
            next(line.split()[1] for line in self._get("/metrics")[1].splitlines() if line.startswith(f"{name} "))
        )

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.http_address, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def memory(self) -> int:
        """Return the resident memory of the process in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0])

    def client_sockets(self) -> int:
        """Return the number of client connections of the process, without those that only the kernel still knows."""
        held = self._socket_inodes()
        if held - self._sockets.keys():
            self._look_at_sockets()
            self._sockets = dict.fromkeys(held, False) | self._sockets  # of other kinds, or broken
        return sum(self._sockets[inode] for inode in held)

    def _look_at_sockets(self) -> None:
        """Find out which sockets are client connections. This is slow where the table holds thousands of old ones."""
        ports = {f"{port:04X}" for _, port in (self.address, self.classic_address)}
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split(maxsplit=10)
            self._sockets[inode] = local.partition(":")[2] in ports and state != LISTEN

    def _socket_inodes(self) -> set[str]:
        held = set()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed while we looked
                held.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
        return held


def node_command(**options: str | float) -> list[str]:
    """Return the command line of a node. `classic_port=0` becomes `--classic-port 0`; an empty text gives no value."""
    command = [*LAUNCH, "node"]
    for key, value in options.items():
        command += [f"--{key.replace('_', '-')}", *([str(value)] if value != "" else [])]
    return command


def _address(line: str, key: str) -> Address:
    # The line is either for people or in JSON.
    match = re.search(rf'\b{key}(?:=|": )"?(\d+\.\d+\.\d+\.\d+):(\d+)', line)
    assert match, f"no {key} in {line!r}"
    return match[1], int(match[2])
