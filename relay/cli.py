"""The `relay` command turns options and environment into a Config, and mistakes into a line and an exit status."""

import importlib.metadata
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType
from typing import Annotated, Any, Final, cast

import structlog
import typer

from relay import logs
from relay.configuration import options
from relay.configuration.config import Config, ConfigError, LogLevel, StartError, first_error
from relay.configuration.options import with_settings
from relay.net import listeners
from relay.process import embedded_redis, standard_streams, supervisor
from relay.process.standard_streams import OutputLost, ReaderGone
from relay.tools.bench.command import bench
from relay.tools.operate.command import drain, kick
from relay.tools.status.command import status, top
from relay.tools.torture.command import torture

log = structlog.get_logger()

USAGE_STATUS: Final = 2  # for a wrong option or value, where a retry can't help
FAILURE_STATUS: Final = 1

# In typer's releases with and without the click package, BadParameter is a subclass of UsageError, and nothing more is
# common to both.
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])

Workers = Annotated[
    int,
    typer.Option(
        envvar="RELAY_WORKERS",
        metavar="COUNT",
        help="Processes that share the ports, each a node of its own; one that ends by itself is replaced.",
    ),
]
# `--workers` and `relay up` give these options to the processes that they start.
SharePorts = Annotated[bool, typer.Option("--share-ports", hidden=True)]
Siblings = Annotated[list[int] | None, typer.Option("--siblings", hidden=True)]
Page = Annotated[
    bool,
    typer.Option("--page/--no-page", envvar="RELAY_PAGE", help="Serve the chat page at / on the ports for clients."),
]
Nodes = Annotated[
    int,
    typer.Option(
        envvar="RELAY_NODES", metavar="COUNT", help="How many nodes to run; each takes the next port, from --port on."
    ),
]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # tracebacks may show local variables, among them the URL with its password
    help="A relay for one-to-one chat that scales out over Redis.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relay {importlib.metadata.version('pair-relay')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None:
    pass


@app.command()
@with_settings()
def node(workers: Workers = 1, share_ports: SharePorts = False, siblings: Siblings = None, **settings: Any) -> int:
    """Run one node until SIGTERM or Ctrl-C."""
    config = replace(options.config(settings), share_ports=share_ports, siblings=tuple(siblings or ()))
    if workers != 1:
        return _until_told(config, lambda resolved: supervisor.run_workers(resolved, workers))
    from relay import node as implementation  # imported late, as --help and wrong options need not wait for it

    def serve(resolved: Config) -> int:
        with embedded_redis.server_unless(resolved.redis) as url:
            implementation.main(replace(resolved, redis=url))
        return 0

    return _until_told(config, serve, node=config.name)


@app.command()
@with_settings("name", "page")
def up(nodes: Nodes = 2, page: Page = True, **settings: Any) -> int:
    """Run a cluster of several nodes on this machine until SIGTERM or Ctrl-C, each port option counting up."""
    first = options.config(settings | {"page": page})
    supervisor.plan(first, nodes)  # raises for settings that can't work before anything is started
    return _until_told(first, lambda resolved: supervisor.run(supervisor.plan(resolved, nodes)))


app.command()(bench)
app.command()(torture)
app.command()(status)
app.command()(top)
app.command()(drain)
app.command()(kick)


def _until_told(config: Config, serve: Callable[[Config], int], *, node: str | None = None) -> int:
    """Serve with logging set up. SIGTERM and Ctrl-C end it cleanly even before `serve` handles them by itself.

    `serve` gets the config with its host resolved, which a signal can interrupt too. `node` is a name for log lines.
    """
    logs.setup(style=config.log_format, level=config.log_level, node=node)
    if strange := options.strange_variables():
        log.warning("variables that are no option's", variables=", ".join(strange))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return serve(replace(config, host=listeners.resolve(config.host)))
    except KeyboardInterrupt:
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status. A mistake or a failed start is one line on stderr, never a trace."""
    try:
        status = int(app(list(arguments) or ["--help"], prog_name="relay", standalone_mode=False) or 0)
        sys.stdout.flush()
        return status
    except _UsageError as error:
        return _complain(error.format_message(), USAGE_STATUS)  # type: ignore[attr-defined]
    except ConfigError as error:
        return _complain(str(error), USAGE_STATUS)
    except StartError as error:
        return _complain(str(error), FAILURE_STATUS)
    except OutputLost as error:
        return _complain_of_output(error)
    except BaseExceptionGroup as group:
        lost = group.subgroup(OutputLost)
        if lost is None:
            raise
        return _complain_of_output(first_error(lost))


def _complain_of_output(error: BaseException) -> int:
    standard_streams.give_up_output()
    if isinstance(error, ReaderGone):
        return FAILURE_STATUS
    return _complain(f"standard output can't be written: {error}", FAILURE_STATUS)


def _complain(message: str, status: int) -> int:
    typer.echo(f"relay: {logs.escape(message)}", err=True)
    return status


def main() -> None:
    """The entry point of the `relay` command."""
    standard_streams.prepare()
    logs.setup(level=LogLevel.ERROR)  # to standard error, as the standard output of other commands is their result
    sys.exit(run(sys.argv[1:]))
