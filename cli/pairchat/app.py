"""The `pairchat` command."""

import os
import signal
import ssl
import sys

import anyio
import typer

from pairchat import options
from pairchat.client import connect
from pairchat.errors import BadSettings, PairchatError
from pairchat.ndjson import Frames
from pairchat.pipe import Pipe
from pairchat.proof import proof
from pairchat.settings import Settings
from pairchat.store import state_folder
from pairchat.trust import client_context
from pairchat.wording import Exit, complaint, exit_status

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Markdown, because plain paragraphs keep the line ends of their docstring.
app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command()
def pairchat(
    name: options.Name = None,
    to: options.To = None,
    server: options.Server = None,
    ask: options.Ask = False,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    theme: options.Theme = "auto",
    notify: options.Notify = "bell",
    mouse: options.Mouse = True,
    typing: options.Typing = True,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    auth_file: options.AuthFile = None,
    config: options.Config = None,
    init: options.Init = False,
    version: options.Version = False,
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
        name=name,
        to=to,
        servers=server or [],
        wait=wait,
        timeout=timeout,
        json=json,
        ask=ask,
        theme=theme,
        notify=notify,
        mouse=mouse,
        typing=typing,
        tls=tls,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        auth_file=auth_file,
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
    """What to speak TLS with; None: it isn't wanted. Raises `BadSettings`."""
    files = {"--ca": settings.tls_ca, "--cert": settings.tls_cert, "--key": settings.tls_key}
    if settings.tls:
        return client_context(*files.values())
    if given := [option for option, file in files.items() if file is not None]:
        raise BadSettings(f"{given[0]} needs --tls: without it nothing is encrypted")
    return None


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
