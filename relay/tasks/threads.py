"""Blocking calls in threads that nobody waits for at the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def in_thread(function: Callable[[], T]) -> "asyncio.Future[T]":
    """Call a blocking function in a daemon thread of its own; the result is awaited where it is needed, or never.

    The threads of asyncio's and anyio's pools are joined at the end: a name server that doesn't answer would keep a
    process alive for as long as the look-up takes.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    result.add_done_callback(_heed)

    def tell(value: T | None, error: Exception | None) -> None:
        if result.done():
            return  # nobody waits any more
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
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, value, failure)

    threading.Thread(target=run, daemon=True, name="relay-blocking").start()
    return result


def _heed(result: "asyncio.Future[T]") -> None:
    """Look at the error, if there is one: asyncio logs those that nobody has looked at."""
    if not result.cancelled():
        result.exception()
