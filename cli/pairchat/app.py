"""The `pairchat` command."""

import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer

from pairchat import settings as files
from pairchat.client import DEFAULT_SERVER, connect
from pairchat.errors import BadSettings, PairchatError
from pairchat.escape import word
from pairchat.ndjson import Frames
from pairchat.pipe import Pipe
from pairchat.proof import proof
from pairchat.settings import Settings
from pairchat.store import state_folder
from pairchat.wording import Exit, complaint, exit_status

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Markdown, because plain paragraphs keep the line ends of their docstring.
app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)


def _read_file(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's settings as defaults: the environment and options go over them."""
    try:
        context.default_map = files.read(path or files.config_file(), must_exist=path is not None)
    except BadSettings as error:
        raise typer.BadParameter(word(str(error))) from None
    return path


def _init(asked: bool) -> None:
    """Ask the few questions, and make the file."""
    if not asked:
        return
    path = files.config_file()
    if path.exists():
        print(f"pairchat: there is {path} already", file=sys.stderr)
        raise typer.Exit(Exit.USAGE)
    name = typer.prompt("Your name")
    server = typer.prompt("Servers, with spaces between", default=DEFAULT_SERVER).split()
    theme = typer.prompt("Your terminal is dark, light, or auto", default="auto")
    notify = typer.prompt("Call you by bell, auto (a notification), or off", default="bell")
    try:
        files.write(path, {"name": name, "server": server, "theme": theme, "notify": notify})
    except OSError as error:
        print(f"pairchat: can't write {path}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(Exit.USAGE) from None
    print(f"Written: {path}")
    raise typer.Exit(Exit.OK)


@app.command()
def pairchat(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", envvar="PAIRCHAT_NAME", help="Your name. In a terminal it is asked for."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="NAME", envvar="PAIRCHAT_TO", help="Whom to chat with. Without it: be called.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="PAIRCHAT_SERVER",
            help="A node of the relay, several times for several; IPv6 as [::1]:9999.  [default: localhost:9999]",
        ),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", envvar="PAIRCHAT_ASK", help="Be asked before somebody who calls chats with you.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", envvar="PAIRCHAT_WAIT", help="Wait until the one to chat with can be had.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, envvar="PAIRCHAT_TIMEOUT", help="End after so long, with status 6."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Commands in and events out as JSON, one a line. For programs.")
    ] = False,
    theme: Annotated[
        str, typer.Option(metavar="auto|dark|light", envvar="PAIRCHAT_THEME", help="The terminal's background.")
    ] = "auto",
    notify: Annotated[
        str,
        typer.Option(
            metavar="off|bell|auto|osc9|osc777|osc99",
            envvar="PAIRCHAT_NOTIFY",
            help="How to call you while the terminal has no focus; auto: as this terminal is known to notify.",
        ),
    ] = "bell",
    mouse: Annotated[
        bool, typer.Option(envvar="PAIRCHAT_MOUSE", help="The wheel scrolls; hold Shift to select.")
    ] = True,
    typing: Annotated[
        bool, typer.Option(envvar="PAIRCHAT_TYPING", help="Tell the partner when you are typing.")
    ] = True,
    tls: Annotated[bool, typer.Option("--tls", envvar="PAIRCHAT_TLS", help="Speak TLS to the relay.")] = False,
    tls_ca: Annotated[
        str | None,
        typer.Option("--ca", "--tls-ca", metavar="FILE", envvar="PAIRCHAT_TLS_CA", help="Certificates to trust, PEM."),
    ] = None,
    auth_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            envvar="PAIRCHAT_AUTH_FILE",
            help="Holds the token that proves your name, where the relay wants one; or put the token itself into "
            "PAIRCHAT_AUTH.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="PAIRCHAT_CONFIG",
            is_eager=True,
            callback=_read_file,
            help="Settings.  [default: ~/.config/pairchat/config.toml]",
        ),
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", is_eager=True, callback=_init, help="Make that file, asking a few questions.")
    ] = False,
) -> None:
    """Chat with one other person over a relay.

    In a terminal: type and press Enter; /help lists the commands.

    If input or output is not a terminal: each input line is a text, each text comes out as a line "name: text", and
    everything else goes to standard error. One chat, then it ends: at the end of the input, once everything sent has
    been acknowledged, or when the partner leaves. An input that is empty from the start (`</dev/null`) listens
    until the partner leaves.

    Exit status: 0 fine; 1 a text was not sent or has no acknowledgement; 2 wrong usage; 3 no connection, or lost;
    4 the name was refused or lost; 5 the partner is not there, or left before the end of the input; 6 timed out.
    """
    chosen = Settings(
        name, to, server or [], wait, timeout, json, ask, theme, notify, mouse, typing, tls, tls_ca, auth_file
    )
    raise typer.Exit(anyio.run(_until_signal, chosen))


def main() -> None:
    """Run the command; never returns."""
    app()


async def _until_signal(settings: Settings) -> int:
    """Run until done or told to end; the name is given back in either case."""
    status = 0
    with anyio.open_signal_receiver(*_ENDING_SIGNALS) as signals:
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                nonlocal status
                async for number in signals:
                    status = 128 + number
                    tasks.cancel_scope.cancel()

            tasks.start_soon(listen)
            status = await _chat(settings)
            tasks.cancel_scope.cancel()
    return status


async def _chat(settings: Settings) -> int:
    try:
        with anyio.fail_after(settings.timeout):
            if _is_terminal(0) and _is_terminal(1) and not settings.json:
                return await _in_terminal(settings)
            return await _in_pipe(settings)
    except TimeoutError:
        print(f"pairchat: not done within {settings.timeout:g} s", file=sys.stderr)
        return Exit.TIMEOUT
    except PairchatError as error:
        print(f"pairchat: {complaint(error)}", file=sys.stderr)
        return exit_status(error)
    except BrokenPipeError:
        print("pairchat: nobody reads the output any more", file=sys.stderr)
        return Exit.NOT_CONFIRMED


async def _in_pipe(settings: Settings) -> int:
    if settings.name is None:
        print("pairchat: no name; write: pairchat NAME", file=sys.stderr)
        return Exit.USAGE
    source = 0 if sys.stdin else os.open(os.devnull, os.O_RDONLY)
    sink = 1 if sys.stdout else os.open(os.devnull, os.O_WRONLY)
    ends = Frames(source, sink) if settings.json else Pipe(source, sink)
    ask = settings.ask and settings.json  # lines of text have nobody to ask
    tls, auth = _tls(settings), proof(settings.auth_file)
    async with connect(
        *settings.servers, name=settings.name, state=state_folder(), tls=tls, ask=ask, auth=auth
    ) as chat:
        return await ends.run(chat, settings.to, wait=settings.wait)
    raise AssertionError  # for the type checker: `connect` swallows nothing


async def _in_terminal(settings: Settings) -> int:
    from pairchat.screen import Screen  # takes its time to import, which scripts need not spend

    return await Screen(settings, state_folder(), _tls(settings), proof(settings.auth_file)).run()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """What to check a relay's certificate against. Raises `BadSettings`."""
    if not settings.tls:
        return None
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(f"can't read {settings.tls_ca}: {error.strerror or error}") from None


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
