"""The `pairchat` command."""

import math
import os
import signal
import sys
from typing import Annotated

import anyio
import typer

from pairchat.client import connect
from pairchat.errors import PairchatError, Refused
from pairchat.escape import word
from pairchat.pipe import Pipe
from pairchat.store import state_folder
from pairchat.wording import Exit, complaint, exit_status

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OTHER_NAME = ("name_taken", "name_invalid")  # refusals that another name can help

# Markdown, because plain paragraphs keep the line ends of their docstring.
app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


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
) -> None:
    """Chat with one other person over a relay.

    In a terminal: type and press Enter; /help lists the commands.

    If input or output is not a terminal: each input line is a text, each text comes out as a line "name: text", and
    everything else goes to standard error. One chat, then it ends: at the end of the input, once everything sent has
    been acknowledged, or when the partner leaves. An input that is empty from the start (`</dev/null`) listens
    until the partner leaves.

    Exit status: 0 fine; 1 a text was not sent or has no acknowledgement; 2 wrong usage; 3 no connection, or lost;
    4 the name was refused or lost; 5 the partner is not there, or left before the end of the input.
    """
    raise typer.Exit(anyio.run(_until_signal, name, to, server or []))


def main() -> None:
    """Run the command; never returns."""
    app()


async def _until_signal(name: str | None, to: str | None, server: list[str]) -> int:
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
            status = await _chat(name, to, server)
            tasks.cancel_scope.cancel()
    return status


async def _chat(name: str | None, to: str | None, server: list[str]) -> int:
    try:
        if _is_terminal(0) and _is_terminal(1):
            return await _in_terminal(name, to, server)
        return await _in_pipe(name, to, server)
    except PairchatError as error:
        print(f"pairchat: {complaint(error)}", file=sys.stderr)
        return exit_status(error)
    except BrokenPipeError:
        print("pairchat: nobody reads the output any more", file=sys.stderr)
        return Exit.NOT_CONFIRMED


async def _in_pipe(name: str | None, to: str | None, server: list[str]) -> int:
    if name is None:
        print("pairchat: no name; write: pairchat NAME", file=sys.stderr)
        return Exit.USAGE
    source = 0 if sys.stdin else os.open(os.devnull, os.O_RDONLY)
    sink = 1 if sys.stdout else os.open(os.devnull, os.O_WRONLY)
    pipe = Pipe(source, sink)
    async with connect(*server, name=name, state=state_folder()) as chat:
        return await pipe.run(chat, to)
    raise AssertionError  # for the type checker: `connect` swallows nothing


async def _in_terminal(name: str | None, to: str | None, server: list[str]) -> int:
    from pairchat.screen import Screen  # takes its time to import, which scripts need not spend

    screen = Screen()
    while name := name or await screen.ask_name():
        try:
            # A connection for each try: the relay closes one that names itself too late.
            async with connect(*server, name=name, patience=math.inf, state=state_folder()) as chat:
                await screen.run(chat, to)
                return Exit.OK
        except Refused as error:
            if error.code not in _OTHER_NAME:
                raise
            print(f"* {word(complaint(error))}")
            name = None
    return Exit.OK


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
