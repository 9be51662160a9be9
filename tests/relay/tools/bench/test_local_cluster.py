"""The cluster that a benchmark starts by itself, when it can't be started."""

import pytest

from relay.configuration.config import StartError
from relay.tools.bench import local_cluster

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("script", "why"), [("echo 'relay: no server program'", "no server program"), ("", "it says nothing")]
)
async def test_why_it_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, script: str, why: str) -> None:
    monkeypatch.setattr(local_cluster, "_COMMAND", ("sh", "-c", script))  # private: `relay up` starts on any machine
    with pytest.raises(StartError, match=f"^the cluster doesn't start: {why}$"):
        async with local_cluster.own_cluster(tls=False):
            pass
