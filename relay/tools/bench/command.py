"""The command line of `relay bench`."""

import sys
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from relay.configuration.config import parse_server

if TYPE_CHECKING:
    from relay.tools.bench.run_settings import Dialect, RunSettings

TROUBLE_STATUS: Final = 1
INTERRUPTED_STATUS: Final = 130  # the status with which a shell reports Ctrl-C

Server = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST:PORT",
        help="A node, or a load balancer; repeat for several: partners are then on different ones. "
        "Default: two nodes of its own.",
    ),
]
Pairs = Annotated[int, typer.Option(metavar="COUNT", help="Pairs of users that chat, one of the two says it all.")]
InFlight = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT",
        help="Messages under way in each pair: the next one is said when the partner got one. Default: 1.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(metavar="MESSAGES", help="Instead: a steady rate, in messages a second, of all pairs together."),
]
Seconds = Annotated[float, typer.Option(metavar="SECONDS", help="How long to measure, after a second to warm up.")]
Dialect_ = Annotated[str, typer.Option("--dialect", metavar="NAME", help="What the users speak: json or text.")]
Acks = Annotated[bool, typer.Option("--acks", help="Users acknowledge messages themselves (json only).")]
Ws = Annotated[bool, typer.Option("--ws", help="Speak WebSocket, as browsers do (json only).")]
Processes = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT", help="Worker processes of the load generator. Default: half of the cores, at most 4."
    ),
]
Tls = Annotated[
    bool,
    typer.Option(
        "--tls", help="Speak TLS. Nodes of its own show a certificate that it makes with openssl; others' is checked."
    ),
]
Ca = Annotated[str | None, typer.Option(metavar="FILE", help="Certificates to trust, PEM. Default: the system's.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, and nothing before it.")]


def bench(
    server: Server = None,
    pairs: Pairs = 100,
    in_flight: InFlight = None,
    rate: Rate = None,
    seconds: Seconds = 10.0,
    dialect: Dialect_ = "json",
    acks: Acks = False,
    ws: Ws = False,
    processes: Processes = None,
    tls: Tls = False,
    ca: Ca = None,
    as_json: Json = False,
) -> int:
    """Measure a cluster under load: messages a second, latency, losses.

    Exit status 0: every message arrived; 1: not, or the run couldn't begin. Don't point it at a cluster whose users
    you know: it takes what it gets.
    """
    from relay.tools.bench import run_settings  # not for --help: it takes a while to import

    settings = run_settings.RunSettings(
        servers=tuple(parse_server("--server", one) for one in server or ()),
        pairs=pairs,
        in_flight=in_flight,
        rate=rate,
        seconds=seconds,
        dialect=cast("Dialect", dialect),
        acks=acks,
        ws=ws,
        processes=run_settings.PROCESSES if processes is None else processes,
        tls=tls,
        ca=ca,
    )
    return _carry_out(settings, as_json=as_json)


def _carry_out(settings: "RunSettings", *, as_json: bool) -> int:
    import anyio

    from relay.tools.bench import coordinator, report

    live = sys.stderr.isatty() and not as_json

    def say(line: str) -> None:
        if live:
            typer.echo(f"\r\x1b[K{line}", err=True, nl=False)

    try:
        outcome = anyio.run(coordinator.run, settings, say)
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    finally:
        if live:
            typer.echo("\r\x1b[K", err=True, nl=False)
    typer.echo(report.as_json(outcome) if as_json else "\n".join(report.lines(outcome)))
    return 0 if outcome.clean else TROUBLE_STATUS
