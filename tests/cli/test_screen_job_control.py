"""`pairchat` under a shell, while it is stopped and continued, and in a terminal that is closed."""

import os
import signal
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.cli.chatting import Open, a_text, heard_up_to, paired
from tests.cli.children import Child, Nursery, Streams
from tests.cli.scripted import ScriptedNode
from tests.cli.terminal import Terminal
from tests.support.process import wait_until

# A shell in the terminal, with job control.
SHELL = """
import fcntl, os, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])
"""


class Shell:
    """Starts a shell instead of `pairchat`."""

    def __call__(self, _: tuple[str, ...], environment: dict[str, str], streams: Streams, terminal: bool) -> Child:
        stdin, stdout, stderr = streams
        environment |= {"PS1": "$ ", "HISTFILE": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=terminal,
        )
        return self._process

    def job(self) -> int:
        """Return the command that runs in it."""
        pid = self._process.pid
        [job] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(job)


def raw(screen: Terminal) -> bool:
    """Return whether each key arrives when it is pressed."""
    mode = termios.tcgetattr(screen.fd)[3]
    return not mode & (termios.ICANON | termios.ECHO)


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
def test_pairchat_stopped_from_elsewhere_has_its_terminal_back_afterwards(
    node: ScriptedNode, terminal: Open, number: signal.Signals
) -> None:
    shell = Shell()
    screen = terminal(launch=shell)
    screen.type(f"{sys.executable} -m pairchat alice\r")
    node.accept().welcome("alice")
    screen.wait_for("You are alice.")
    screen.type("typed ")
    screen.wait_typed("> typed")
    os.kill(shell.job(), number)
    screen.wait_for("Stopped")
    screen.type("stty sane; echo mine\r")
    screen.wait(lambda lines: any(line.lstrip("$ ") == "mine" for line in lines), "the shell")
    assert not raw(screen)
    screen.type("fg\r")
    screen.wait_typed("> typed")
    screen.wait(lambda lines: not any("mine" in line for line in lines), "nothing of the shell")
    wait_until(lambda: raw(screen), "keys come as they are pressed")
    screen.type("again")
    screen.wait_typed("> typed again")


@pytest.mark.parametrize(("ignored", "status"), [([], 128 + signal.SIGHUP), ([signal.SIGHUP], 1)])
def test_a_terminal_that_is_gone_ends_pairchat_and_gives_the_name_back(
    node: ScriptedNode, terminal: Open, nursery: Nursery, ignored: list[signal.Signals], status: int
) -> None:
    screen = terminal("alice", launch=partial(nursery.start, ignored=ignored))
    peer = node.accept()
    peer.welcome("alice")
    screen.wait_for("You are alice.")
    with ThreadPoolExecutor(1) as thread:
        parted = thread.submit(peer.part)
        assert screen.hang_up() == status
        parted.result()


def test_a_terminal_that_is_not_read_holds_up_neither_connection_nor_signals(
    node: ScriptedNode, terminal: Open
) -> None:
    screen, peer = paired(node, terminal)
    for id in range(1, 51):  # each redraws the screen, a hundred kilobytes in total
        peer.say(a_text(id, chr(ord("a") + id % 26) * 1500))
        heard_up_to(peer, id)
    screen.wait_for("y" * 40)  # after it is read again, it shows the latest texts
    peer.say(a_text(51, "z" * 1500))
    heard_up_to(peer, 51)
    screen.terminate()
    peer.part()
    assert screen.status() == 128 + signal.SIGTERM
