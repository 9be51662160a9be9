"""The `relay` command line: options and environment become a Config, mistakes become one line and an exit status."""

import importlib.metadata
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, cast

import typer

from relay import embedded, logs, supervisor
from relay.bench.command import bench
from relay.config import Config, ConfigError, StartError, default_name, with_password
from relay.torture.command import torture

USAGE_STATUS: Final = 2  # a wrong option or value: trying again can't help
FAILURE_STATUS: Final = 1

# typer's releases before and after it stopped using the click package agree on this only: BadParameter < UsageError.
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])

_DEFAULTS: Final = Config(name="n1")

Host = Annotated[
    str, typer.Option(envvar="RELAY_HOST", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 or :: for all.")
]
Port = Annotated[
    int,
    typer.Option(envvar="RELAY_PORT", metavar="PORT", help="TCP port for text and JSON clients; 0 takes a free one."),
]
Redis = Annotated[
    str,
    typer.Option(
        envvar="RELAY_REDIS_URL",
        metavar="URL",
        help="Redis or Valkey 7 or later: redis://, rediss://, unix://, redis+sentinel:// or "
        "redis+cluster://. "
        "Without it: an embedded server for this process only, not for production.",
    ),
]
RedisPasswordFile = Annotated[
    Path | None,
    typer.Option(
        envvar="RELAY_REDIS_PASSWORD_FILE",
        metavar="FILE",
        help="Holds the password for --redis, where the URL has none; read once, at the start.",
    ),
]
Prefix = Annotated[
    str,
    typer.Option(
        envvar="RELAY_PREFIX",
        metavar="TEXT",
        help="Start of every key and channel; relays with different prefixes on one Redis know nothing of each other.",
    ),
]
Name = Annotated[
    str,
    typer.Option(
        envvar="RELAY_NAME",
        metavar="TEXT",
        help="This node's name, unique in the cluster. Default: made up from the host's.",
    ),
]
Lease = Annotated[
    float,
    typer.Option(
        envvar="RELAY_LEASE",
        metavar="SECONDS",
        help="Seconds after which the names of a crashed node's users are free.",
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        envvar="RELAY_GRACE",
        metavar="SECONDS",
        help="Seconds that a JSON session whose connection broke waits for its client.",
    ),
]
ClassicPort = Annotated[
    int | None,
    typer.Option(
        envvar="RELAY_CLASSIC_PORT",
        metavar="PORT",
        help="TCP port for original clients, which send no line ends; 0 takes a free one. Default: off.",
    ),
]
HttpPort = Annotated[
    int | None,
    typer.Option(
        envvar="RELAY_HTTP_PORT",
        metavar="PORT",
        help="HTTP port for /healthz and /readyz; 0 takes a free one. Default: off.",
    ),
]
MaxLine = Annotated[
    int,
    typer.Option(
        envvar="RELAY_MAX_LINE",
        metavar="BYTES",
        help="Longest line that a client may send, in bytes, its line end not counted.",
    ),
]
Memory = Annotated[
    int,
    typer.Option(
        envvar="RELAY_MEMORY",
        metavar="MIB",
        help="Memory in MiB for messages under way, all clients of a node together; short of it, senders wait.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        envvar="RELAY_WORKERS",
        metavar="COUNT",
        help="Processes that share the ports, each a node of its own; one that ends by itself is replaced.",
    ),
]
# For the workers themselves.
SharePorts = Annotated[bool, typer.Option("--share-ports", hidden=True)]
Nodes = Annotated[
    int,
    typer.Option(
        envvar="RELAY_NODES", metavar="COUNT", help="How many nodes to run; each takes the next port, from --port on."
    ),
]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # they may show local variables, and one of those is the URL with its password
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
def node(
    host: Host = _DEFAULTS.host,
    port: Port = _DEFAULTS.port,
    redis: Redis = "",
    redis_password_file: RedisPasswordFile = None,
    prefix: Prefix = _DEFAULTS.prefix,
    name: Name = "",
    lease: Lease = _DEFAULTS.lease,
    grace: Grace = _DEFAULTS.grace,
    classic_port: ClassicPort = None,
    http_port: HttpPort = None,
    max_line: MaxLine = _DEFAULTS.max_line,
    memory: Memory = _DEFAULTS.memory,
    workers: Workers = 1,
    share_ports: SharePorts = False,
) -> int:
    """Run one node until SIGTERM or Ctrl-C."""
    config = Config(
        host=host,
        port=port,
        redis=_with_password(redis, redis_password_file),
        prefix=prefix,
        name=name or default_name(),
        lease=lease,
        grace=grace,
        classic_port=classic_port,
        http_port=http_port,
        max_line=max_line,
        memory=memory,
        share_ports=share_ports,
    )
    if workers != 1:
        return _until_told(lambda: supervisor.run_workers(config, workers))
    from relay import node as implementation  # not for --help and wrong options: it takes a while to import

    def serve() -> int:
        with ExitStack() as stack:
            url = config.redis or stack.enter_context(embedded.server())
            implementation.main(replace(config, redis=url))
        return 0

    return _until_told(serve)


@app.command()
def up(
    nodes: Nodes = 2,
    host: Host = _DEFAULTS.host,
    port: Port = _DEFAULTS.port,
    redis: Redis = "",
    redis_password_file: RedisPasswordFile = None,
    prefix: Prefix = _DEFAULTS.prefix,
    lease: Lease = _DEFAULTS.lease,
    grace: Grace = _DEFAULTS.grace,
    classic_port: ClassicPort = None,
    http_port: HttpPort = None,
    max_line: MaxLine = _DEFAULTS.max_line,
    memory: Memory = _DEFAULTS.memory,
) -> int:
    """Run a cluster of several nodes on this machine until SIGTERM or Ctrl-C, each port option counting up."""
    first = Config(
        host=host,
        port=port,
        redis=_with_password(redis, redis_password_file),
        prefix=prefix,
        lease=lease,
        grace=grace,
        classic_port=classic_port,
        http_port=http_port,
        max_line=max_line,
        memory=memory,
    )
    configs = supervisor.plan(first, nodes)
    return _until_told(lambda: supervisor.run(configs))


app.command()(bench)
app.command()(torture)


def _with_password(url: str, file: Path | None) -> str | None:
    if file is None:
        return url or None
    if not url:
        raise ConfigError("--redis-password-file needs --redis")
    return with_password(url, file)


def _until_told(serve: Callable[[], int]) -> int:
    """Serve with logging set up. SIGTERM and Ctrl-C are a clean end even before `serve` listens for them itself."""
    logs.setup()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return serve()
    except KeyboardInterrupt:
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status. A mistake or a failed start is one line on stderr, never a trace."""
    try:
        return int(app(list(arguments) or ["--help"], prog_name="relay", standalone_mode=False) or 0)
    except _UsageError as error:
        return _complain(error.format_message(), USAGE_STATUS)  # type: ignore[attr-defined]
    except ConfigError as error:
        return _complain(str(error), USAGE_STATUS)
    except StartError as error:
        return _complain(str(error), FAILURE_STATUS)


def _complain(message: str, status: int) -> int:
    typer.echo(f"relay: {logs.escape(message)}", err=True)
    return status


def main() -> None:
    """The entry point of the `relay` command."""
    sys.exit(run(sys.argv[1:]))
