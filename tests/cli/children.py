"""Processes that run `pairchat`: fresh ones, and ones that are forked from a process that has it imported.

Starting an interpreter and importing takes most of the time of a short test, so most tests fork. What they get is a
process of its own all the same, with real streams, signals and an exit status.
"""

import fcntl
import gc
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import termios
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn, Protocol, Self

Streams = tuple[int, int, int]  # standard input, output and error


class Child(Protocol):
    """A process with the methods of `subprocess.Popen`."""

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


# Starts `pairchat` with these arguments, environment and streams. With `terminal` the streams are one terminal, which
# controls the process.
Launch = Callable[[tuple[str, ...], dict[str, str], Streams, bool], Child]

# A terminal sends Ctrl-C to the processes that it controls. (`pty.fork` sets that up too, but it forks a process that
# has threads.)
_TAKE_TERMINAL_AND_RUN = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


def fresh(
    args: tuple[str, ...], environment: dict[str, str], streams: Streams, terminal: bool, module: str = "pairchat"
) -> Child:
    """Start `python -m pairchat`, or another module, in a new interpreter."""
    how = ["-c", _TAKE_TERMINAL_AND_RUN, module] if terminal else ["-m", module]
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        [sys.executable, *how, *args],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=terminal,
    )


class Nursery:
    """A process that has imported `pairchat`, and forks at each `start`.

    It ends when it is closed or its owner dies.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        assert self._socket.recv(16), "it did not start"

    def start(
        self,
        args: tuple[str, ...],
        environment: dict[str, str],
        streams: Streams,
        terminal: bool,
        *,
        closed: Sequence[int] = (),
        ignored: Sequence[signal.Signals] = (),
    ) -> Child:
        """Start `pairchat` in a fork, with some of its streams closed and some signals ignored from the start."""
        reports, theirs = os.pipe()
        try:
            order = json.dumps(
                {
                    "args": args,
                    "environment": environment,
                    "terminal": terminal,
                    "closed": closed,
                    "ignored": ignored,
                }
            ).encode()
            socket.send_fds(self._socket, [order], [*streams, theirs])
        finally:
            os.close(theirs)
        return _Forked(reports)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait(10)


class _Forked:
    """A process that another process waits for and reports on."""

    def __init__(self, reports: int) -> None:
        self._reports = os.fdopen(reports, "rb", buffering=0)
        self._pid = int(self._reports.readline())
        self._status: int | None = None

    def poll(self) -> int | None:
        return self._reap(0)

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (1e9 if timeout is None else timeout)
        while (status := self._reap(min(1.0, max(0.0, deadline - time.monotonic())))) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("pairchat", timeout or 0)
        return status

    def _reap(self, patience: float) -> int | None:
        if self._status is None and select.select([self._reports], [], [], patience)[0]:
            self._status = int(self._reports.readline())
            self._reports.close()
        return self._status

    def send_signal(self, sig: int) -> None:
        if self._reap(0) is None:
            os.kill(self._pid, sig)

    def kill(self) -> None:
        if (measured := _measured()) is not None:
            self.send_signal(measured.KILL)
            with suppress(subprocess.TimeoutExpired):  # it may be stopped
                self.wait(1)
        self.send_signal(signal.SIGKILL)


def _measured() -> ModuleType | None:
    """Return the part of `make coverage` in this process, which is loaded if the process is measured."""
    return sys.modules.get("tests.support.measured")


# --- in the process that forks


def serve(orders: socket.socket) -> None:
    """Fork for each order, and report how each process ends."""
    import anyio

    import pairchat.cli
    import pairchat.screen  # noqa: F401  imported once, for all

    # Likewise what a program would only import later: asyncio's side of anyio, and the encoding of host names.
    anyio.run(anyio.sleep, 0)
    "localhost".encode("idna")
    # A collection in a child would write to each object that it shares with this process, and so copy all of them.
    gc.collect()
    gc.freeze()
    orders.send(b"ready")
    ready = selectors.DefaultSelector()
    ready.register(orders, selectors.EVENT_READ)
    while ready.get_map():
        for key, _ in ready.select():
            if key.fileobj is not orders:
                _report_end(ready, key)
                continue
            order, streams, _, _ = socket.recv_fds(orders, 1 << 20, 4)
            if order:
                _start(ready, json.loads(order), streams)
            else:  # those that still run are waited for, so that their time counts as that of the tests
                ready.unregister(orders)


def _start(ready: selectors.BaseSelector, order: dict[str, Any], streams: list[int]) -> None:
    """Start the ordered process, and report its id."""
    *inherited, reports = streams
    pid = os.fork()
    if pid == 0:
        os.close(reports)
        _forget(ready)
        _become(order, inherited)
    for fd in inherited:  # otherwise nobody would see the end of its output
        os.close(fd)
    ready.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, reports))
    os.write(reports, f"{pid}\n".encode())


def _forget(ready: selectors.BaseSelector) -> None:
    """Close what belongs to the process that forks, and to other processes that it has forked."""
    for key in ready.get_map().values():
        os.close(key.fd)
        if key.data is not None:
            os.close(key.data[1])
    ready.close()


def _report_end(ready: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Report how a process has ended."""
    pid, reports = key.data
    ready.unregister(key.fd)
    os.close(key.fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):  # nobody wants to know it
        os.write(reports, f"{status}\n".encode())
    os.close(reports)


def _become(order: dict[str, Any], streams: list[int]) -> NoReturn:
    """Become `pairchat`, in a state as if it had just been started."""
    from pairchat.cli import main

    if order["terminal"]:
        os.setsid()
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    for number in order["closed"]:
        name = ("stdin", "stdout", "stderr")[number]
        getattr(sys, name).close()
        setattr(sys, name, None)
    for number in order["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["pairchat", *order["args"]]
    if (measured := _measured()) is not None:
        measured.save_before_kill()
    status: Any = 1
    try:
        main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)  # private: no module may clean up what the parent still uses


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
