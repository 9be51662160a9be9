"""The `pairchat` command."""

import errno
import os
import signal
import ssl
import sys

import anyio
import typer

from pairchat import options
from pairchat.address import WebAddress, parse_address
from pairchat.client import DEFAULT_SERVER, connect
from pairchat.credentials import proof
from pairchat.errors import BadSettings, PairchatError
from pairchat.ndjson_mode import Frames
from pairchat.pipe_mode import Pipe
from pairchat.session_store import state_folder
from pairchat.settings import Settings
from pairchat.stdio import LAST_WORDS, Notices, ReaderGone, StreamFailed, prepare
from pairchat.tls_setup import client_context
from pairchat.user_folders import home
from pairchat.wording import Exit, complaint, exit_status

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_DUMB = ("dumb", "unknown")  # terminals that can only print lines

# Markdown, because plain paragraphs keep the line ends of their docstring.
app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command()
def pairchat(
    context: typer.Context,
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
    proxy: options.Proxy = None,
    config: options.Config = None,
    init: options.Init = False,
    version: options.Version = False,
) -> None:
    """Chat with one other person over a relay.

    In a terminal: type and press Enter; /help lists the commands.

    If input or output is not a terminal, or a dumb one: each input line is a text, each text comes out as a line
    "name: text", and everything else goes to standard error. One chat, then it ends: at the end of the input, once
    everything sent has been acknowledged, or when the partner leaves. An input that is empty from the start
    (`</dev/null`) listens until the partner leaves.

    Exit status: 0 fine; 1 a text was not sent or has no acknowledgement; 2 wrong usage; 3 no connection, or lost;
    4 the name was refused or lost; 5 the partner is not there, or left before the end of the input; 6 timed out.
    """
    options.check_file(context)
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
        proxy=proxy,
    )
    raise typer.Exit(anyio.run(_until_signal, chosen))


def main() -> None:
    """Run the command; never returns."""
    prepare()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise flushing the buffer at exit prints a traceback
        if error.errno != errno.EPIPE:  # EPIPE is no fault: the reader has stopped reading, as `head` does
            where = error.filename or ("can't write the output" if error.errno in _OF_OUTPUT else "can't go on")
            Notices().say(f"pairchat: {where}: {error.strerror}")
        ended = error.__context__.code if isinstance(error.__context__, SystemExit) else None
        sys.exit(ended or Exit.NOT_CONFIRMED)
    except RuntimeError:  # `--install-completion` raises it without a home folder
        if home(".") is not None:
            raise
        Notices().say("pairchat: there is no home folder: set HOME")
        sys.exit(Exit.USAGE)


async def _until_signal(settings: Settings) -> int:
    """Run until the chat is over or a signal arrives. In both cases the name is given back."""
    status = 0
    # A signal that was ignored at the start, as `nohup` does with SIGHUP, must not end the program.
    wanted = [number for number in _ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*wanted) as signals:
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                nonlocal status
                async for number in signals:
                    status = 128 + number
                    tasks.cancel_scope.cancel()

            notices = Notices()
            tasks.start_soon(listen)
            tasks.start_soon(notices.serve)
            ended = await _chat(settings, notices)
            if not tasks.cancel_scope.cancel_called:
                status = ended
            with anyio.move_on_after(LAST_WORDS):
                await notices.said()
            tasks.cancel_scope.cancel()
    return status


async def _chat(settings: Settings, notices: Notices) -> int:
    try:
        settings.check()
        with anyio.fail_after(settings.timeout):
            if _is_terminal(0) and _is_terminal(1) and os.environ.get("TERM") not in _DUMB and not settings.json:
                return await _in_terminal(settings)
            return await _in_pipe(settings, notices)
    except TimeoutError:
        notices.say(f"pairchat: not done within {settings.timeout:g} s")
        return Exit.TIMEOUT
    except PairchatError as error:
        notices.say(f"pairchat: {complaint(error)}")
        return exit_status(error)
    except ReaderGone:
        return Exit.NOT_CONFIRMED
    except StreamFailed as error:
        notices.say(f"pairchat: {error}")
        return Exit.NOT_CONFIRMED


async def _in_pipe(settings: Settings, notices: Notices) -> int:
    if settings.name is None:
        notices.say("pairchat: no name; write: pairchat NAME")
        return Exit.USAGE
    ends = Frames(0, 1) if settings.json else Pipe(0, 1, notices.say)
    ask = settings.ask and settings.json  # the text mode can't ask the user
    tls, auth = _tls(settings), proof(settings.auth_file)
    async with connect(
        *settings.servers,
        name=settings.name,
        state=state_folder(),
        tls=tls,
        ask=ask,
        auth=auth,
        proxy=settings.proxy,
    ) as chat:
        return await ends.run(chat, settings.to, wait=settings.wait)
    raise AssertionError  # for the type checker: `connect` swallows nothing


async def _in_terminal(settings: Settings) -> int:
    from pairchat.screen import Screen  # this import is slow, and scripts don't need it

    return await Screen(settings, state_folder(), _tls(settings), proof(settings.auth_file)).run()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context, or None if the options ask for none. Raises `BadSettings` and `BadServer`."""
    files = {"--ca": settings.tls_ca, "--cert": settings.tls_cert, "--key": settings.tls_key}
    given = [option for option, file in files.items() if file is not None]
    if not settings.tls and not given:
        return None
    servers = [parse_address(server) for server in settings.servers or [DEFAULT_SERVER]]
    if not settings.tls and not all(isinstance(server, WebAddress) and server.secure for server in servers):
        raise BadSettings(f"{given[0]} needs --tls: without it nothing is encrypted")
    return client_context(*files.values())


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
