"""Runs a command that can't outlive the process that started it, not even if that process is killed with SIGKILL.

`command()` returns the argument list to start. This file is its launcher and runs as a script, so that nothing needs to
be installed. On Linux the launcher asks the kernel for SIGKILL at its parent's death, and then executes the command.
Elsewhere it stays as a watchdog: it reads a pipe (its stdin) whose other end only the parent has, and kills the command
at EOF. (A `preexec_fn` would need no launcher, but may deadlock in a process with threads.)
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ORPHANED: Final = 75  # EX_TEMPFAIL of <sysexits.h>: the parent died before the command could be bound to it


def command(arguments: Sequence[str], *, watchdog: bool = not sys.platform.startswith("linux")) -> list[str]:
    """Return the argument list that runs `arguments` bound to this process.

    Start it with `stdin=subprocess.PIPE` and keep that pipe open. Start it from the main thread, because Linux sends
    the parent-death signal when the *thread* that started the child ends.
    """
    # With -P, Python doesn't take a `relay` folder in the working directory for this package.
    return [sys.executable, "-P", __file__, "watchdog" if watchdog else "bind", str(os.getpid()), *arguments]


def bind(parent: int, arguments: Sequence[str]) -> None:
    """Execute the command, which is killed once process `parent` dies. Returns only if `parent` is dead already.

    Raises:
        OSError: the kernel refuses the parent-death signal, or the command can't be executed.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() == parent:  # otherwise it died before our prctl, and no signal will come
        os.execvp(arguments[0], list(arguments))


def watch(lifeline: int, arguments: Sequence[str]) -> int:
    """Run the command until it ends, or kill it at EOF on the file descriptor. Returns its exit status."""
    early: list[int] = []  # signals that arrived before there was a child to forward them to
    for number in _PASSED_ON:
        signal.signal(number, lambda received, _frame: early.append(received))
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as child:
        for number in _PASSED_ON:
            signal.signal(number, lambda received, _frame: child.send_signal(received))
        for received in early:
            child.send_signal(received)

        def kill_at_eof() -> None:
            while os.read(lifeline, 64):
                pass
            child.kill()

        threading.Thread(target=kill_at_eof, daemon=True).start()
        return child.wait()


def _main() -> int:
    mode, parent, *arguments = sys.argv[1:]
    if mode == "watchdog":
        return watch(sys.stdin.fileno(), arguments)
    bind(int(parent), arguments)
    return _ORPHANED


if __name__ == "__main__":
    sys.exit(_main())
