"""Blocking calls beside the loop."""

import subprocess
import sys
import textwrap

import anyio
import pytest

from relay.tasks.threads import in_thread
from tests.support.process import own_environment

pytestmark = pytest.mark.anyio


async def test_the_outcome_of_a_blocking_call_is_awaited() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(OSError, match="no"):
        await in_thread(fails)


def fails() -> None:
    raise OSError("no")


async def test_whoever_gives_up_leaves_the_blocking_call_to_itself() -> None:
    with anyio.move_on_after(0):
        await in_thread(lambda: 7)


def test_a_look_up_that_hangs_keeps_no_process_alive() -> None:
    program = """
        import anyio, time
        from relay.tasks.threads import in_thread

        async def main():
            with anyio.move_on_after(0.01):
                await in_thread(lambda: time.sleep(600))

        anyio.run(main)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60, env=own_environment())
