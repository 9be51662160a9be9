"""Autobahn's cases, which nearly every implementation of WebSocket is held to.

They want a server that echoes: it is made of a node's own connections (`tests/support/echo.py`).
"""

import json
import sys

import anyio
import pytest

from relay.session.runtime_interface import Limits
from tests.relay.desk import a_router_in_memory
from tests.support.echo import echo_server
from tests.support.memory import MemoryDirectory

pytestmark = pytest.mark.anyio

# Without those on compression, which a node doesn't negotiate.
CASES = 301
# The cases on what RFC 6455 leaves open tell what they saw, and can't be failed.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


@pytest.mark.timeout(600)
async def test_none_of_autobahn_s_cases_fails() -> None:
    async with a_router_in_memory(MemoryDirectory(), Limits()) as hub:
        server = await echo_server(hub)
        url = "ws://{}:{}/ws".format(*server.sockets[0].getsockname())
        try:
            run = await anyio.run_process([sys.executable, "-m", "tests.support.autobahn", url])
        finally:
            server.close()
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one for one in results if one["behavior"] not in PASSED or one["close"] not in PASSED] == []
    assert len(results) == CASES
