"""Programs of a lab: one that was never started can be signalled and ended like any other."""

import signal
import socket
from pathlib import Path

import pytest

from relay.tools.testbed.process import HOST, Process, free_port

pytestmark = pytest.mark.anyio


def in_words(process: Process) -> str:
    assert process.alive is (process.status is None)
    return "runs" if process.alive else f"ended with {process.status}"


async def test_a_program_that_was_never_started_has_no_status_and_ends_at_once(tmp_path: Path) -> None:
    process = Process(["true"], tmp_path / "log")
    assert not process.alive
    assert process.status is None
    process.tell(signal.SIGTERM)
    assert await process.end() == 0


async def test_a_program_that_ends_leaves_its_status_and_can_be_started_again(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo here; exec sleep 600"], tmp_path / "log")
    for _ in range(2):
        process.start()
        assert in_words(process) == "runs"
        process.tell(signal.SIGSTOP)  # a fault does the same
        assert await process.end(signal.SIGTERM) == -signal.SIGTERM
        assert in_words(process) == f"ended with {-signal.SIGTERM}"


def test_a_free_port_is_given_to_nobody_else() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, port))


def test_nobody_answers_on_a_free_port_until_a_server_listens_there() -> None:
    port = free_port()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with socket.create_server((HOST, port)), socket.create_connection((HOST, port)):
            pass
