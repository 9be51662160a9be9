"""The nodes of a lab, on programs that are no nodes."""

from pathlib import Path

import pytest

from relay.configuration.config import StartError
from relay.tools.torture.lab import Node

pytestmark = pytest.mark.anyio


async def test_a_node_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    node = Node(3, ["sh", "-c", "echo no room; exit 7", "sh"], tmp_path, "redis://nowhere", None)
    with pytest.raises(StartError, match=rf"^node 3 doesn't start \(status 7\); see {node.log}$"):
        await node.listen()
    assert await node.end() == 7
    assert node.log.read_text() == "no room\n"
