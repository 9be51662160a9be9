"""The command line of `relay torture`."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from relay.configuration.config import parse_server

if TYPE_CHECKING:
    from relay.tools.torture.run_settings import RunSettings

VIOLATED_STATUS: Final = 1
INTERRUPTED_STATUS: Final = 130  # the status with which a shell reports Ctrl-C

Seconds = Annotated[float, typer.Option(metavar="SECONDS", help="How long to break things; quiet and check follow.")]
Seed = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="What traffic and faults are drawn from. Default: a new one.")
]
Fault = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="Faults, with commas: kill, term, pause, partition, slow, deaf, pubsub, buffer, flush, evict, redis-down, "
        "redis-freeze, rollback, failover, switch, isolate, shard-freeze; or all that the engine has, or none. Clients "
        "break their connections in any case.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Servers that it starts: standalone; sentinel (with a replica) or cluster (three primaries, each with a "
        "replica), of which the faults are kill, term, pause, failover, switch; of a cluster also isolate and "
        "shard-freeze.",
    ),
]
Nodes = Annotated[int, typer.Option(metavar="COUNT", help="Nodes of the cluster that it starts.")]
Users = Annotated[int, typer.Option(metavar="COUNT", help="Users: six of ten JSON with acks, two without, two text.")]
Server = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST:PORT", help="A node of a cluster that runs already; repeat for each. No faults then."),
]
Lease = Annotated[float, typer.Option(metavar="SECONDS", help="Lease of the cluster given by --server.")]
Grace = Annotated[float, typer.Option(metavar="SECONDS", help="Grace of the cluster given by --server.")]
Tls = Annotated[
    bool,
    typer.Option(
        "--tls",
        help="Clients speak TLS. Nodes of its own show a certificate that it makes with openssl; others' is checked.",
    ),
]
Ws = Annotated[
    bool,
    typer.Option("--ws", help="JSON clients come over WebSocket and TCP by turns, and resume from one to the other."),
]
Ca = Annotated[str | None, typer.Option(metavar="FILE", help="Certificates to trust, PEM. Default: the system's.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, and nothing before it.")]


def torture(
    seconds: Seconds = 60.0,
    seed: Seed = None,
    engine: Engine = "standalone",
    fault: Fault = "all",
    nodes: Nodes = 3,
    users: Users = 40,
    server: Server = None,
    lease: Lease = 5.0,
    grace: Grace = 30.0,
    tls: Tls = False,
    ws: Ws = False,
    ca: Ca = None,
    as_json: Json = False,
) -> int:
    """Break a cluster of its own in every way under random traffic, and check that no promise was broken.

    Exit status 0: every promise was held; 1: not, and the output says which.
    """
    from relay.tools.torture import run_settings  # not for --help: it takes a while to import

    chosen = run_settings.new_seed() if seed is None else seed
    kind = run_settings.parse_engine(engine)
    if server:
        servers = tuple(parse_server("--server", one) for one in server)
        settings = run_settings.RunSettings(
            seconds, chosen, (), nodes, users, servers, lease, grace, engine=kind, tls=tls, ca=ca, ws=ws
        )
    else:
        faults = run_settings.parse_faults(fault, kind)
        settings = run_settings.RunSettings(seconds, chosen, faults, nodes, users, engine=kind, tls=tls, ca=ca, ws=ws)
    return _carry_out(settings, as_json=as_json)


def _carry_out(settings: "RunSettings", *, as_json: bool) -> int:
    import anyio

    from relay.tools.torture import report, single_run

    def say(line: str) -> None:
        if not as_json:
            typer.echo(line)

    say(f"torture with seed {settings.seed}; again: {settings.again}")
    try:
        result = anyio.run(single_run.run, settings, say, backend_options={"use_uvloop": single_run.UVLOOP})
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    typer.echo(report.as_json(result) if as_json else "\n".join(report.lines(result)))
    return 0 if result.clean else VIOLATED_STATUS
