"""The command lines of `relay drain` and `relay kick`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import typer

from relay.config import Config, ConfigError
from relay.logs import escape
from relay.options import config, with_only

NEEDED: Final = ("redis", "redis_password_file", "prefix")
DRAIN_SECONDS: Final = 60.0
KICK_SECONDS: Final = 5.0

NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Its name, as `relay status` shows it.")]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="Whose connection is to be closed.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for that, in seconds.")]


@with_only(*NEEDED)
def drain(node: NodeName, timeout: Timeout = DRAIN_SECONDS, **settings: Any) -> int:
    """Have a node send its clients elsewhere and end, as SIGTERM does, and wait until it has.

    Exit status 1: there is no such node, it hasn't ended in time, or Redis can't be asked.
    """
    from relay.operate import act  # not for --help: it takes a while to import

    _run(settings, lambda url, prefix: act.drain(url, prefix, node, timeout))
    typer.echo(f"{escape(node)} has ended")
    return 0


@with_only(*NEEDED)
def kick(name: UserName, timeout: Timeout = KICK_SECONDS, **settings: Any) -> int:
    """Close a user's connection and take the name away; the partner is told. Nothing keeps it from being claimed again.

    Exit status 1: nobody has this name, it wasn't taken away in time, or Redis can't be asked.
    """
    from relay.names import InvalidName, parse
    from relay.operate import act

    try:
        owned = parse(name).owned
    except InvalidName as error:
        raise ConfigError(str(error)) from None
    _run(settings, lambda url, prefix: act.kick(url, prefix, owned, timeout))
    typer.echo(f"{escape(name)} has been disconnected")
    return 0


def _run(settings: dict[str, Any], act: Callable[[str, str], Awaitable[None]]) -> None:
    told: Config = config(settings)
    if told.redis is None:
        raise ConfigError("this needs --redis: an embedded server is its node's own")
    import anyio

    anyio.run(act, told.redis, told.prefix)
