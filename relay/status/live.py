"""`relay top`: looks again and again, and shows the last one that succeeded."""

import time

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from relay.config import Config
from relay.logs import escape
from relay.redis_client.client import Unavailable
from relay.status import show
from relay.status.gather import Gatherer, Status, asking


async def run(told: Config, interval: float) -> None:
    """Until cancelled. Raises StartError for what will not pass by itself."""
    async with asking(told) as gatherer:
        with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
            await _look_for_ever(gatherer, live, interval)


async def _look_for_ever(gatherer: Gatherer, live: Live, interval: float) -> None:
    last: Status | None = None
    while True:
        trouble = ""
        try:
            last = await gatherer.look()
        except Unavailable as error:
            trouble = str(error)
        live.update(_page(last, trouble), refresh=True)
        await anyio.sleep(interval)


def _page(status: Status | None, trouble: str) -> RenderableType:
    foot = Text(f"{time.strftime('%H:%M:%S')}  Ctrl-C ends", style="dim")
    if trouble:
        foot = Text(f"Redis can't be asked: {escape(trouble)}", style="red")
    return Group(show.tables(status), Text(), foot) if status else foot
