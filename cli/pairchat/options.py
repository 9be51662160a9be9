"""This module declares the options of the `pairchat` command and their help."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pairchat import settings_file
from pairchat.address import parse_address
from pairchat.client import DEFAULT_SERVER
from pairchat.errors import BadServer, BadSettings
from pairchat.escape import word
from pairchat.settings import NOTIFY, THEMES
from pairchat.wording import Exit


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # this import is slow

        typer.echo(f"pairchat {version('pair-relay')}")
        raise typer.Exit


def _read_file(context: typer.Context, path: Path | None) -> Path | None:
    """Use the file's settings as defaults, which the environment and options override.

    `check_file` reports errors in the file, so that help and completion work in spite of them.
    """
    file = path or settings_file.config_file()
    try:
        context.default_map = settings_file.read(file, must_exist=path is not None) if file is not None else {}
    except BadSettings as error:
        context.obj = error
    return path


def check_file(context: typer.Context) -> None:
    """Raise `typer.Exit` if the settings file has an error."""
    if isinstance(context.obj, BadSettings):
        raise _useless(str(context.obj))


def _seconds(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number of seconds")
    return value


def _init(context: typer.Context, asked: bool) -> None:
    """Ask a few questions and create the settings file, at the path of `--config`, which was parsed before."""
    if not asked:
        return
    path = context.params["config"] or settings_file.config_file()
    if path is None:
        raise _useless("there is no home folder: set HOME or XDG_CONFIG_HOME")
    if path.exists():
        raise _useless(f"there is {path} already")
    try:
        values = _asked()
    except typer.Abort:
        raise _useless("nothing was written") from None
    try:
        settings_file.write(path, values)
    except OSError as error:
        raise _useless(f"can't write {path}: {error.strerror}") from None
    print(f"Written: {path}")
    raise typer.Exit(Exit.OK)


def _useless(why: str) -> typer.Exit:
    print(f"pairchat: {word(why)}", file=sys.stderr)
    return typer.Exit(Exit.USAGE)


def _asked() -> dict[str, Any]:
    """Return the answers. Each question is repeated until its answer is valid."""
    return {
        "name": typer.prompt("Your name", value_proc=_a_name),
        "server": typer.prompt("Servers, with spaces between", default=DEFAULT_SERVER, value_proc=_servers),
        "theme": typer.prompt("Your terminal is dark, light, or auto", default="auto", value_proc=_one_of(THEMES)),
        "notify": typer.prompt(
            "Call you by bell, auto (a notification), or off", default="bell", value_proc=_one_of(NOTIFY)
        ),
    }


def _a_name(answer: str) -> str:
    if not answer or answer.split() != [answer] or set(answer) & set(":{}"):
        raise typer.BadParameter("a name has no white space and none of : { }")
    return answer


def _servers(answer: str) -> list[str]:
    servers = answer.split()
    try:
        for server in servers:
            parse_address(server)
    except BadServer as error:
        raise typer.BadParameter(word(str(error))) from None
    return servers


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def chosen(answer: str) -> str:
        if answer not in choices:
            raise typer.BadParameter(f"choose from {', '.join(choices)}")
        return answer

    return chosen


Name = Annotated[
    str | None, typer.Argument(metavar="NAME", envvar="PAIRCHAT_NAME", help="Your name. In a terminal it is asked for.")
]
To = Annotated[
    str | None, typer.Option(metavar="NAME", envvar="PAIRCHAT_TO", help="Whom to chat with. Without it: be called.")
]
Server = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        envvar="PAIRCHAT_SERVER",
        help="A node of the relay, several times for several: HOST:PORT (IPv6 as [::1]:9999), ws://HOST/PATH or "
        "wss://HOST/PATH.  [default: localhost:9999]",
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
    typer.Option(
        metavar="SECONDS",
        min=0,
        callback=_seconds,
        envvar="PAIRCHAT_TIMEOUT",
        help="End after so long, with status 6.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Commands in and events out as JSON, one a line. For programs.")]
Theme = Annotated[
    str,
    typer.Option(metavar="|".join(THEMES), envvar="PAIRCHAT_THEME", help="The terminal's background."),
]
Notify = Annotated[
    str,
    typer.Option(
        metavar="|".join(NOTIFY),
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
Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL|none",
        envvar="PAIRCHAT_PROXY",
        help="An HTTP proxy for ws:// and wss://.  [default: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say]",
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
Init = Annotated[bool, typer.Option("--init", callback=_init, help="Make that file, asking a few questions.")]
Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it and exit.")]
