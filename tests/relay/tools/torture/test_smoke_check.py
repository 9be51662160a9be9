"""The check of a cluster by two users, where there is none."""

import pytest

from relay.tools.testbed.process import HOST, free_port
from relay.tools.torture import smoke_check

pytestmark = pytest.mark.anyio


async def test_a_node_that_is_not_there_fails_at_the_first_step() -> None:
    nowhere = (HOST, free_port())
    failed = await smoke_check.fails(nowhere, nowhere, "t", 0.3)
    assert set(failed.split(", then ")) == {"connect"}
