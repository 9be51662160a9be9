"""The command lines of `relay status` and `relay top`."""

import sys
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from relay import logs
from relay.config import Config, ConfigError, LogLevel
from relay.options import config, with_only

DEAD_STATUS: Final = 1
WIDE: Final = 160  # columns, where nobody has a terminal to fold lines for
INTERVAL_SECONDS: Final = (0.1, 3600.0)
NEEDED: Final = ("redis", "redis_password_file", "prefix")  # to say which relay is meant

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object; times in seconds.")]
Interval = Annotated[float, typer.Option(envvar="RELAY_INTERVAL", metavar="SECONDS", help="Seconds between two looks.")]


@with_only(*NEEDED)
def status(as_json: Json = False, **settings: Any) -> int:
    """Show nodes, users, rates and the Redis behind them. Only reads.

    Exit status 0: a node lives; 1: none does, or Redis can't be asked.
    """
    told = where(settings, "status")
    import anyio  # not for --help: it takes a while to import
    from rich.console import Console

    from relay.status import gather, show

    found = anyio.run(gather.once, told)
    if as_json:
        typer.echo(show.as_json(found))
    else:
        wide = None if sys.stdout.isatty() else WIDE
        Console(highlight=False, width=wide).print(show.tables(found))
    return 0 if found.living else DEAD_STATUS


@with_only(*NEEDED)
def top(interval: Interval = 2.0, **settings: Any) -> int:
    """The same as `relay status`, live, until Ctrl-C."""
    told = where(settings, "top")
    low, high = INTERVAL_SECONDS
    if not low <= interval <= high:
        raise ConfigError(f"--interval must be between {low:g} and {high:g} seconds, not {interval:g}")
    import anyio

    from relay.status import live

    with suppress(KeyboardInterrupt):
        anyio.run(live.run, told, interval)
    return 0


def where(settings: dict[str, Any], command: str) -> Config:
    """Which relay is meant: its Redis, and its prefix. Raises ConfigError."""
    told: Config = config(settings)
    logs.setup(level=LogLevel.ERROR)  # what a command has to say it says itself, and in stdout nothing else may stand
    if told.redis is None:
        raise ConfigError(f"relay {command} needs --redis URL: that of the nodes")
    return told
