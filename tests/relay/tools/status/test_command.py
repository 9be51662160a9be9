"""What `relay status` prints, and its exit status."""

import json

import pytest

from relay import cli
from relay.configuration.config import Config
from relay.observe.status_report import Report
from relay.tools.status import gather
from relay.tools.status.gather import Node, Status

REPORT = Report("n1", "1.0", 100.0, 3700.0, 5.0)


@pytest.mark.parametrize(("left", "status"), [(3.5, 0), (-1.0, 1)])
def test_the_status_is_a_table_or_json_and_fails_if_no_node_lives(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left: float, status: int
) -> None:
    async def once(told: Config) -> Status:
        return Status(told.prefix, "standalone", (Node("u", REPORT, left),), ())

    monkeypatch.setattr(gather, "once", once)
    assert cli.run(["status", "--redis", "redis://h:1", "--prefix", "here"]) == status
    assert capsys.readouterr().out.startswith(f"here: {1 - status} node")
    assert cli.run(["status", "--redis", "redis://h:1", "--json"]) == status
    (node,) = json.loads(capsys.readouterr().out)["nodes"]
    assert node["name"] == "n1"
