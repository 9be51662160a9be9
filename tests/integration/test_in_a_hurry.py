"""Ends that are requested twice, or during other work."""

import os
import re
import signal
import sys
from pathlib import Path

from tests.integration.test_workers import listening, pids, start
from tests.support.node import START_PATIENCE
from tests.support.process import Process, descendants, is_stopped, runs, wait_until
from tests.support.server import RedisServer

UP = [sys.executable, "-m", "relay", "up", "--nodes", "1", "--port", "0"]


def has_waiting(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal was sent to a process that hasn't taken it yet."""
    found = re.search(r"ShdPnd:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return found is not None and bool(int(found[1], 16) >> number - 1 & 1)


def test_an_operator_who_asks_twice_does_not_wait_for_a_node_that_hangs(tmp_path: Path) -> None:
    with Process(UP, tmp_path / "up.log") as up:
        up.wait_for_line("Ctrl-C ends everything", START_PATIENCE)
        members = descendants(up.pid)
        node = next(pid for pid in members if b"\0node\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(node, signal.SIGSTOP)
        wait_until(lambda: is_stopped(node), "the node is stopped")
        up.interrupt()
        wait_until(lambda: has_waiting(node, signal.SIGTERM), "the node is told, and does nothing about it")
        up.interrupt()
        assert up.wait() == 0
        wait_until(lambda: not any(map(runs, members)), "node and server are gone")
        assert "Traceback" not in up.text()


def test_a_worker_that_is_about_to_be_replaced_is_not_once_all_are_told_to_end(
    tmp_path: Path, redis_server: RedisServer, prefix: str
) -> None:
    with start(tmp_path, redis_server, prefix, "--port", "0", "--name", "n", "--lease", "1") as workers:
        wait_until(lambda: len(listening(workers)) == 2, "both listen", START_PATIENCE)
        os.kill(pids(workers)["n-w1"], signal.SIGKILL)
        workers.wait_for_line("replacing it")
        workers.terminate()
        assert workers.wait() == 0
        assert len(listening(workers)) == 2, "nobody came in its place"
