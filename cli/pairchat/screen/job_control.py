"""This module handles job control: stop and continue, by Ctrl-Z or by signals (`kill -TSTP`, `kill -STOP`)."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.output import Output

from pairchat.screen.attention import KEEP_FOCUS, TELL_FOCUS

GROUP = 0  # `kill`'s number for the process group of this process


@contextmanager
def job_control(app: Application[None]) -> Iterator[None]:
    """Give the terminal to the shell when this process is told to stop, and take it back afterwards."""
    loop = asyncio.get_running_loop()

    def told_to_stop() -> None:
        if app.is_running and app.context is not None:
            app.context.copy().run(run_in_terminal, partial(suspend, app.output, os.getpid()))

    def continued() -> None:
        """Restore the terminal's mode and the screen, which the shell has changed. The terminal may also be gone."""
        with suppress(OSError):
            take_back()

    def take_back() -> None:
        if app.is_running:
            app.input.raw_mode().__enter__()
            app.renderer.clear()
            app.output.write_raw(TELL_FOCUS)
            app.invalidate()

    handlers: dict[signal.Signals, Callable[[], None]] = {signal.SIGTSTP: told_to_stop, signal.SIGCONT: continued}
    for number, handler in handlers.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def suspend(output: Output, whom: int) -> None:
    """Stop this process, or its group, until it is continued.

    Focus reports are switched off meanwhile, because a shell doesn't understand them.
    """
    output.write_raw(KEEP_FOCUS)
    output.flush()
    handler = signal.getsignal(signal.SIGTSTP)
    if handler is not signal.SIG_IGN:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(whom, signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
    output.write_raw(TELL_FOCUS)
    output.flush()
