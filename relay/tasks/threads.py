"""Runs blocking calls in threads that the process doesn't wait for at its end."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")


class Threads:
    """The function that starts a thread, which a simulator replaces. Nobody waits for the thread."""

    __slots__ = ("start",)

    start: Callable[[Callable[[], None]], None]

    def __init__(self) -> None:
        self.start = _start


def _start(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True, name="relay-blocking").start()


threads: Final = Threads()


def in_thread(function: Callable[[], T]) -> "asyncio.Future[T]":
    """Call a blocking function in a daemon thread of its own. The returned future need not be awaited.

    The threads of asyncio's and anyio's pools are joined at the end, so a name server that doesn't answer would keep
    the process alive for as long as the look-up takes.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    result.add_done_callback(_heed)

    def tell(value: T | None, error: Exception | None) -> None:
        if result.done():
            return  # the caller was cancelled
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, failure = None, None
        try:
            value = function()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(tell, value, failure)

    threads.start(run)
    return result


def _heed(result: "asyncio.Future[T]") -> None:
    """Retrieve the error, if there is one, as asyncio logs errors that were never retrieved."""
    if not result.cancelled():
        result.exception()
