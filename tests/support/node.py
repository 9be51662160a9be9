"""Real `relay node` processes, and clusters of them that share one Redis."""

import contextlib
import http.client
import re
import ssl
import sys
from itertools import count
from pathlib import Path

from tests.support.process import PATIENCE, Process

Address = tuple[str, int]

START_PATIENCE = 30.0  # seconds; to start takes a second of CPU time, of which a busy machine has little to give
LAUNCH = (sys.executable, "-m", "relay")  # of the checkout
LISTEN = "0A"  # the state column of /proc/net/tcp
_serial = count(1)


class Node(Process):
    """One node on free ports of 127.0.0.1; returns when it accepts connections."""

    launch: tuple[str, ...] = LAUNCH
    tls: ssl.SSLContext | None = None  # what its clients need

    def __init__(self, folder: Path, *, wait: bool = True, **options: str | float) -> None:
        self.name = f"n{next(_serial)}"
        settings: dict[str, str | float] = {"name": self.name, "port": 0, "classic_port": 0, "http_port": 0, **options}
        super().__init__([*self.launch, *node_command(**settings)[len(LAUNCH) :]], folder / f"{self.name}.log")
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                self.kill()
                raise

    def wait_until_listening(self) -> None:
        """Learn the addresses from the one line that tells them."""
        line = self.wait_for_line("listening", START_PATIENCE)
        self.address = _address(line, "address")
        self.server = "{}:{}".format(*self.address)  # the same as clients are told it
        self.classic_address = _address(line, "classic")
        self.http_address = _address(line, "http")

    def readiness(self) -> int:
        """The status of `/readyz`: 200, or 404 while it should get no new clients."""
        return self._get("/readyz")[0]

    def trouble(self) -> str:
        """Why `/readyz` says that it should get no new clients; empty while it may."""
        status, text = self._get("/readyz")
        return "" if status == http.HTTPStatus.OK else text.strip()

    def metric(self, name: str) -> float:
        """A number of `/metrics` that has no labels."""
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
        """Bytes that the process has in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0])

    def client_sockets(self) -> int:
        """How many client connections the process holds, those that only the kernel still knows not counted."""
        ports = {f"{port:04X}" for _, port in (self.address, self.classic_address)}
        rows = [row.split() for row in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]]
        held = self._socket_inodes()
        return sum(row[1].partition(":")[2] in ports and row[3] != LISTEN and row[9] in held for row in rows)

    def _socket_inodes(self) -> set[str]:
        held = set()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed while we looked
                held.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
        return held


def node_command(**options: str | float) -> list[str]:
    """The command line of a node; `classic_port=0` becomes `--classic-port 0`, and an empty text no value."""
    command = [*LAUNCH, "node"]
    for key, value in options.items():
        command += [f"--{key.replace('_', '-')}", *([str(value)] if value != "" else [])]
    return command


def _address(line: str, key: str) -> Address:
    # A field of a line for people, or of one in JSON.
    match = re.search(rf'\b{key}(?:=|": )"?(\d+\.\d+\.\d+\.\d+):(\d+)', line)
    assert match, f"no {key} in {line!r}"
    return match[1], int(match[2])
