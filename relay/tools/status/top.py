"""`relay top`: reads the status at intervals, and shows the last one that succeeded."""

import signal
import time
from collections.abc import Callable

import anyio
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from relay.configuration.config import Config, one_start_error
from relay.logs import escape
from relay.process.skip_ignored_signals import unless_ignored
from relay.redis_client.client import Unavailable
from relay.tools.status import formatting
from relay.tools.status.gather import Gatherer, Status, asking

Show = Callable[[RenderableType], None]


async def run(told: Config, interval: float) -> None:
    """Show the status until Ctrl-C, SIGTERM or SIGHUP. Raises StartError for errors that don't pass by themselves."""
    ending = unless_ignored(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with one_start_error(), anyio.open_signal_receiver(*ending) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_show, told, interval)
            async for _ in signals:
                tasks.cancel_scope.cancel()


async def _show(told: Config, interval: float) -> None:
    console = formatting.console()
    async with asking(told) as gatherer:
        if console.is_terminal and not console.is_dumb_terminal:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                await _show_for_ever(gatherer, lambda page: live.update(page, refresh=True), interval)
        else:
            await _show_for_ever(gatherer, lambda page: console.print(page, Text()), interval)


async def _show_for_ever(gatherer: Gatherer, display: Show, interval: float) -> None:
    last: Status | None = None
    while True:
        trouble = ""
        try:
            last = await gatherer.read_status()
        except Unavailable as error:
            trouble = str(error)
        display(_page(last, trouble))
        await anyio.sleep(interval)


def _page(status: Status | None, trouble: str) -> RenderableType:
    foot = Text(time.strftime("%H:%M:%S"), style="dim")
    if trouble:
        foot = Text(f"Redis can't be asked: {escape(trouble)}", style="red")
    return Group(formatting.tables(status), Text(), foot) if status else foot
