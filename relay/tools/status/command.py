"""The command lines of `relay status` and `relay top`."""

from typing import Annotated, Any, Final

import typer

from relay.configuration.config import Config, ConfigError, check_range
from relay.configuration.options import config, strange_variables, with_only
from relay.logs import escape

DEAD_STATUS: Final = 1
INTERVAL_SECONDS: Final = (0.1, 3600.0)
NEEDED: Final = ("redis", "redis_password_file", "prefix")  # the options that identify a relay

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object; times in seconds.")]
Interval = Annotated[float, typer.Option(envvar="RELAY_INTERVAL", metavar="SECONDS", help="Seconds between two looks.")]


@with_only(*NEEDED)
def status(as_json: Json = False, **settings: Any) -> int:
    """Show nodes, users, rates and the Redis behind them. Only reads.

    Exit status 0: a node lives; 1: none does, or Redis can't be asked.
    """
    told = where(settings, "status")
    import anyio  # not for --help: it takes a while to import

    from relay.tools.status import formatting, gather

    found = anyio.run(gather.once, told)
    if as_json:
        typer.echo(formatting.as_json(found))
    else:
        formatting.console().print(formatting.tables(found))
    return 0 if found.living else DEAD_STATUS


@with_only(*NEEDED)
def top(interval: Interval = 2.0, **settings: Any) -> int:
    """The same as `relay status`, live, until Ctrl-C or SIGTERM. Into a pipe or a file: one look after another."""
    told = where(settings, "top")
    check_range("--interval", interval, INTERVAL_SECONDS, "seconds")
    import anyio

    from relay.tools.status import top as live

    anyio.run(live.run, told, interval)
    return 0


def where(settings: dict[str, Any], command: str) -> Config:
    """Return the settings that identify the relay: its Redis and its prefix. Raises ConfigError."""
    for variable in strange_variables():
        typer.echo(f"relay: {escape(variable)} is no option's variable", err=True)
    told: Config = config(settings)
    if told.redis is None:
        raise ConfigError(f"relay {command} needs --redis URL: that of the nodes")
    return told
