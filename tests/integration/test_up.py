"""`relay up`: several nodes and their server start together and end together, whichever ends first."""

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
from tests.support.process import Process, descendants, runs, wait_until

UP = [sys.executable, "-m", "relay", "up"]
MEMBERS = 3  # two nodes and the embedded server


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Process]:
    """Two nodes on free ports, in their own process group as in a terminal. Everything is up."""
    with Process(["setsid", *UP, "--port", "0"], tmp_path / "up.log") as process:
        process.wait_for_line("Ctrl-C ends everything", START_PATIENCE)
        yield process
        print(process.text())


def wait_until_gone(members: list[int]) -> None:
    assert len(members) == MEMBERS
    wait_until(lambda: not any(map(runs, members)), "nodes and server are gone")


def test_the_command_tells_where_to_connect_and_nodes_are_there(cluster: Process) -> None:
    ports = re.findall(r"nc localhost (\d+)", cluster.text())
    assert len(set(ports)) == 2
    for port in ports:
        with socket.create_connection((HOST, int(port)), 5) as client:
            client.sendall(b"alice\n" if port == ports[0] else b"bob\n")
            assert client.makefile("rb").readline() == b"OK\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_with_status_0(cluster: Process, number: signal.Signals) -> None:
    members = descendants(cluster.pid)
    os.kill(cluster.pid, number)
    assert cluster.wait() == 0
    wait_until_gone(members)
    assert "Traceback" not in cluster.text()


def test_ctrl_c_in_its_terminal_ends_everything_with_status_0(cluster: Process) -> None:
    members = descendants(cluster.pid)
    os.killpg(cluster.pid, signal.SIGINT)  # a terminal signals the whole group
    assert cluster.wait() == 0
    wait_until_gone(members)
    assert "Traceback" not in cluster.text()


def test_kill_9_ends_everything(cluster: Process) -> None:
    members = descendants(cluster.pid)
    cluster.kill()
    wait_until_gone(members)


def test_a_node_that_dies_ends_everything_with_a_status(cluster: Process) -> None:
    members = descendants(cluster.pid)
    victim = next(pid for pid in members if b"\0n2\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    assert cluster.wait() == 1
    wait_until_gone(members)
    assert "node ended by itself, ending all node=n2 status=-9" in cluster.text()


def test_a_node_that_is_told_to_end_ends_alone(cluster: Process) -> None:
    """`relay drain` has the same effect on a node."""
    first, second = (
        next(
            pid
            for pid in descendants(cluster.pid)
            if f"\0{name}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        for name in ("n1", "n2")
    )
    os.kill(second, signal.SIGTERM)
    cluster.wait_for_line("node has ended as it was told, the others go on node=n2")
    assert runs(first)
    port = re.findall(r"nc localhost (\d+)", cluster.text())[0]
    with socket.create_connection((HOST, int(port)), 5) as client:
        client.sendall(b"alice\n")
        assert client.makefile("rb").readline() == b"OK\n"
    os.kill(first, signal.SIGTERM)
    assert cluster.wait() == 0  # no process is left


def test_a_port_in_use_is_one_line_and_a_status(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        process = Process([*UP, "--port", str(port), "--nodes", "1"], tmp_path / "up.log")
        assert process.wait() == 1
    complaints = [line for line in process.text().splitlines() if line.startswith("relay: ")]
    assert len(complaints) == 1
    assert re.search(rf"n1: .*{port}", complaints[0])
    assert "Traceback" not in process.text()
