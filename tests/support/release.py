"""This module runs nodes of an earlier release from its wheel, with the installed libraries."""

import sys
import zipfile
from pathlib import Path

from tests.support.node import Node

# The wheel of commit fd89d93, before the code was renamed and moved. A clone without history can't build it.
WHEEL = Path(__file__).parents[1] / "fixtures" / "fd89d93" / "pair_relay-0.1.0-py3-none-any.whl"

# `make coverage` does not measure an earlier release, whose processes can't find the plug-in.
_UNMEASURED = ("-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START")


def earlier(folder: Path) -> type[Node]:
    """Unpack the wheel into a folder, and return the class of nodes that run from there."""
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(folder)

    class Earlier(Node):
        # Without -P Python would find the checkout in the working directory first.
        launch = ("env", *_UNMEASURED, f"PYTHONPATH={folder}", sys.executable, "-P", "-m", "relay")

    return Earlier
