"""The output to a terminal that is not read for a while."""

import os
from collections.abc import Iterator
from typing import TextIO

import anyio
import pytest

from pairchat.screen import terminal_output
from pairchat.screen.terminal_output import TerminalOutput
from tests.cli.scripted import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def ends() -> Iterator[tuple[int, TextIO]]:
    """The end that shows what is written, and the end of the program."""
    shows, program = os.openpty()
    with os.fdopen(program, "w") as terminal:
        yield shows, terminal
    os.close(shows)


async def test_more_than_may_wait_is_dropped_and_the_screen_is_drawn_again_once_it_is_read(
    ends: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_output, "AHEAD", 100_000)
    shows, terminal = ends
    paper, drawn = TerminalOutput(terminal), anyio.Event()

    def redraw() -> None:
        paper.write("all of it again")
        paper.flush()
        drawn.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(paper.serve, redraw)
        paper.write("x" * 1_000_000)
        paper.flush()
        assert not drawn.is_set()
        shown = b""
        with anyio.fail_after(PATIENCE):
            while not shown.endswith(b"all of it again"):
                await anyio.wait_readable(shows)
                shown += os.read(shows, 65_536)
        tasks.cancel_scope.cancel()
    assert len(shown) < 100_000
    await paper.close()


async def test_output_that_may_wait_is_all_written(ends: tuple[int, TextIO]) -> None:
    shows, terminal = ends
    paper = TerminalOutput(terminal)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(paper.serve, lambda: pytest.fail("nothing was dropped"))
        paper.write("x" * 200_000)
        paper.flush()
        shown = b""
        with anyio.fail_after(PATIENCE):
            while len(shown) < 200_000:
                await anyio.wait_readable(shows)
                shown += os.read(shows, 65_536)
        tasks.cancel_scope.cancel()
    assert shown == b"x" * 200_000
    await paper.close()
