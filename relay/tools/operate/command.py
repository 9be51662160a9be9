"""The command lines of `relay drain` and `relay kick`."""

from typing import Annotated, Any, Final

import typer

from relay.configuration.config import ConfigError, check_range
from relay.configuration.options import with_only
from relay.logs import escape
from relay.tools.status.command import NEEDED, where

DRAIN_SECONDS: Final = 60.0
KICK_SECONDS: Final = 5.0
# A shorter time isn't enough for an answer. The upper bound of a day catches a wrong unit.
TIMEOUT_SECONDS: Final = (0.1, 86_400.0)

NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Its name, or its uid, as `relay status` shows them.")]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="Whose connection is to be closed.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for that, in seconds.")]


@with_only(*NEEDED)
def drain(node: NodeName, timeout: Timeout = DRAIN_SECONDS, **settings: Any) -> int:
    """Have a node send its clients elsewhere and end, as SIGTERM does, and wait until it has.

    Exit status 1: there is no such node, it hasn't ended in time, or Redis can't be asked.
    """
    told = where(settings, "drain")
    check_range("--timeout", timeout, TIMEOUT_SECONDS, "seconds")
    import anyio  # not for --help: it takes a while to import

    from relay.tools.operate import operator_requests

    anyio.run(operator_requests.drain, told, node, timeout)
    typer.echo(f"{escape(node)} has ended")
    return 0


@with_only(*NEEDED)
def kick(name: UserName, timeout: Timeout = KICK_SECONDS, **settings: Any) -> int:
    """Close a user's connection and take the name away; the partner is told. Nothing keeps it from being claimed again.

    Exit status 1: nobody has this name, it wasn't taken away in time, or Redis can't be asked.
    """
    told = where(settings, "kick")
    check_range("--timeout", timeout, TIMEOUT_SECONDS, "seconds")
    import anyio

    from relay.names.parse import InvalidName, parse
    from relay.tools.operate import operator_requests

    try:
        canonical_name = parse(name).canonical_name
    except InvalidName as error:
        raise ConfigError(str(error)) from None
    anyio.run(operator_requests.kick, told, canonical_name, timeout)
    typer.echo(f"{escape(name)} has been disconnected")
    return 0
