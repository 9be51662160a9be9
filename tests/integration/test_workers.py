"""`relay node --workers`: several processes on one port, each a separate node; a lost one is replaced."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.tools.testbed.process import HOST
from tests.support.node import START_PATIENCE
from tests.support.process import Process, wait_until
from tests.support.server import RedisServer

NODE = [sys.executable, "-m", "relay", "node"]
WORKERS = 2


def start(tmp_path: Path, redis_server: RedisServer, prefix: str, *options: str) -> Process:
    command = [*NODE, "--workers", str(WORKERS), "--redis", redis_server.url, "--prefix", prefix, *options]
    return Process(command, tmp_path / "workers.log")


@pytest.fixture
def workers(tmp_path: Path, redis_server: RedisServer, prefix: str) -> Iterator[Process]:
    with start(tmp_path, redis_server, prefix, "--port", "0", "--name", "n", "--lease", "1") as process:
        wait_until(lambda: len(listening(process)) == WORKERS, "both listen", START_PATIENCE)
        yield process
        print(process.text())


def listening(process: Process) -> list[tuple[str, int]]:
    """Return name and port of every worker that has ever listened, in order."""
    lines = [line for line in process.text().splitlines() if " listening " in line]
    found = [re.search(r"address=\S+:(\d+).* node=(\S+)", line) for line in lines]
    return [(match[2], int(match[1])) for match in found if match]


def pids(process: Process) -> dict[str, int]:
    """Return the workers' process ids by their names."""
    found = {}
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found[words[words.index("--name") + 1]] = pid
    return found


def join(port: int, name: str) -> tuple[socket.socket, str]:
    """Return a client with a name, and the node that it is on."""
    client = socket.create_connection((HOST, port), 5)
    client.sendall(b'{"type":"hello","name":"%b"}\n' % name.encode())
    welcome = client.makefile("rb").readline().decode()
    found = re.search(r'"node":"([^"]+)"', welcome)
    assert found, welcome
    return client, found[1]


def test_workers_share_one_port_and_clients_of_all_of_them_chat(workers: Process) -> None:
    (_, port), (_, other) = listening(workers)
    assert port == other
    clients: dict[str, tuple[str, socket.socket]] = {}
    for number in range(200):  # the kernel spreads them by a hash of their ports
        client, node = join(port, f"user{number}")
        if node in clients:
            client.close()
        clients.setdefault(node, (f"user{number}", client))
        if len(clients) == WORKERS:
            break
    (_, caller), (name, callee) = clients["n-w1"], clients["n-w2"]
    caller.sendall(b'{"type":"to","name":"%b"}\n{"type":"msg","id":1,"text":"across"}\n' % name.encode())
    heard = callee.makefile("rb")
    assert b"paired" in heard.readline()
    assert b'"text":"across"' in heard.readline()
    caller.close()
    callee.close()


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(workers: Process) -> None:
    port = listening(workers)[0][1]
    others: dict[str, socket.socket] = {}
    for number in range(200):
        client, node = join(port, f"user{number}")
        others.setdefault(node, client)
        if others[node] is not client:
            client.close()
        if len(others) == WORKERS:
            break
    victim = pids(workers)["n-w1"]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(listening(workers)) == WORKERS + 1, "its successor listens")
    assert listening(workers)[-1] == ("n-w1", port)
    assert pids(workers)["n-w1"] != victim
    assert "worker ended by itself, replacing it node=n-w1 status=-9" in " ".join(workers.text().split())
    others["n-w2"].sendall(b'{"type":"ping"}\n')
    assert others["n-w2"].recv(100) == b'{"type":"pong"}\n'
    for client in others.values():
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_with_status_0(workers: Process, number: signal.Signals) -> None:
    members = pids(workers)
    assert len(members) == WORKERS
    os.kill(workers.pid, number)
    assert workers.wait() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in members.values())
    assert "replacing" not in workers.text()
    assert "Traceback" not in workers.text()


@pytest.mark.parametrize("reuse", [False, True], ids=["alone", "willing to share"])
def test_a_port_that_somebody_has_is_not_shared_with_him(
    reuse: bool, tmp_path: Path, redis_server: RedisServer, prefix: str
) -> None:
    with socket.create_server((HOST, 0), reuse_port=reuse) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, redis_server, prefix, "--port", str(port))
        assert process.wait() == 1
    assert re.fullmatch(rf"relay: can't listen on {HOST}:{port}: .+\n", process.text())


def test_a_count_that_cannot_work_is_one_line_and_a_status(tmp_path: Path) -> None:
    process = Process([*NODE, "--workers", "0"], tmp_path / "workers.log")
    assert process.wait() == 2
    assert process.text() == "relay: --workers must be between 1 and 64, not 0\n"
