"""Nodes of an earlier release: the checkout's tests run them out of its wheel, with the libraries that are here."""

import sys
import zipfile
from pathlib import Path

from tests.support.node import Node

# The wheel of commit fd89d93, before the code was renamed and arranged anew. A clone without history can't build it.
WHEEL = Path(__file__).parents[1] / "fixtures" / "fd89d93" / "pair_relay-0.1.0-py3-none-any.whl"

# An earlier release is not what `make coverage` measures, and its processes don't find the plug-in.
_UNMEASURED = ("-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START")


def earlier(folder: Path) -> type[Node]:
    """Unpack the wheel into a folder, and return the nodes that are started from there."""
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(folder)

    class Earlier(Node):
        # -P: else Python would find the checkout first, in the working directory.
        launch = ("env", *_UNMEASURED, f"PYTHONPATH={folder}", sys.executable, "-P", "-m", "relay")

    return Earlier
