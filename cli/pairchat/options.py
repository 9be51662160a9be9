"""The options of the `pairchat` command: what each is called, and what the help says of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pairchat import settings
from pairchat.client import DEFAULT_SERVER
from pairchat.errors import BadSettings
from pairchat.escape import word
from pairchat.wording import Exit


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # takes its time to import

        typer.echo(f"pairchat {version('pair-relay')}")
        raise typer.Exit


def _read_file(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's settings as defaults: the environment and options go over them."""
    try:
        context.default_map = settings.read(path or settings.config_file(), must_exist=path is not None)
    except BadSettings as error:
        raise typer.BadParameter(word(str(error))) from None
    return path


def _init(asked: bool) -> None:
    """Ask the few questions, and make the file."""
    if not asked:
        return
    path = settings.config_file()
    if path.exists():
        print(f"pairchat: there is {path} already", file=sys.stderr)
        raise typer.Exit(Exit.USAGE)
    name = typer.prompt("Your name")
    server = typer.prompt("Servers, with spaces between", default=DEFAULT_SERVER).split()
    theme = typer.prompt("Your terminal is dark, light, or auto", default="auto")
    notify = typer.prompt("Call you by bell, auto (a notification), or off", default="bell")
    try:
        settings.write(path, {"name": name, "server": server, "theme": theme, "notify": notify})
    except OSError as error:
        print(f"pairchat: can't write {path}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(Exit.USAGE) from None
    print(f"Written: {path}")
    raise typer.Exit(Exit.OK)


Name = Annotated[
    str | None, typer.Argument(metavar="NAME", envvar="PAIRCHAT_NAME", help="Your name. In a terminal it is asked for.")
]
To = Annotated[
    str | None, typer.Option(metavar="NAME", envvar="PAIRCHAT_TO", help="Whom to chat with. Without it: be called.")
]
Server = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="PAIRCHAT_SERVER",
        help="A node of the relay, several times for several; IPv6 as [::1]:9999.  [default: localhost:9999]",
    ),
]
Ask = Annotated[
    bool, typer.Option("--ask", envvar="PAIRCHAT_ASK", help="Be asked before somebody who calls chats with you.")
]
Wait = Annotated[
    bool, typer.Option("--wait", envvar="PAIRCHAT_WAIT", help="Wait until the one to chat with can be had.")
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, envvar="PAIRCHAT_TIMEOUT", help="End after so long, with status 6."),
]
Json = Annotated[bool, typer.Option("--json", help="Commands in and events out as JSON, one a line. For programs.")]
Theme = Annotated[
    str, typer.Option(metavar="auto|dark|light", envvar="PAIRCHAT_THEME", help="The terminal's background.")
]
Notify = Annotated[
    str,
    typer.Option(
        metavar="off|bell|auto|osc9|osc777|osc99",
        envvar="PAIRCHAT_NOTIFY",
        help="How to call you while the terminal has no focus; auto: as this terminal is known to notify.",
    ),
]
Mouse = Annotated[bool, typer.Option(envvar="PAIRCHAT_MOUSE", help="The wheel scrolls; hold Shift to select.")]
Typing = Annotated[bool, typer.Option(envvar="PAIRCHAT_TYPING", help="Tell the partner when you are typing.")]
Tls = Annotated[bool, typer.Option("--tls", envvar="PAIRCHAT_TLS", help="Speak TLS to the relay.")]
TlsCa = Annotated[
    str | None,
    typer.Option("--ca", "--tls-ca", metavar="FILE", envvar="PAIRCHAT_TLS_CA", help="Certificates to trust, PEM."),
]
TlsCert = Annotated[
    str | None,
    typer.Option(
        "--cert",
        "--tls-cert",
        metavar="FILE",
        envvar="PAIRCHAT_TLS_CERT",
        help="Your own certificate, PEM, for a relay that wants one.",
    ),
]
TlsKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        "--tls-key",
        metavar="FILE",
        envvar="PAIRCHAT_TLS_KEY",
        help="Its key, PEM, not encrypted.  [default: in the same file]",
    ),
]
AuthFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        envvar="PAIRCHAT_AUTH_FILE",
        help="Holds the token that proves your name, where the relay wants one; or put the token itself into "
        "PAIRCHAT_AUTH.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="PAIRCHAT_CONFIG",
        is_eager=True,
        callback=_read_file,
        help="Settings.  [default: ~/.config/pairchat/config.toml]",
    ),
]
Init = Annotated[
    bool, typer.Option("--init", is_eager=True, callback=_init, help="Make that file, asking a few questions.")
]
Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it and exit.")]
