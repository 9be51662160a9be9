"""Where a `pairchat` under test keeps what it remembers."""

import os
import tempfile
from pathlib import Path


class Home:
    """A home of its own, so that no test meets the settings or sessions of another, or of whoever runs the tests."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pairchat-test-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)

    def environment(self, server: str, **more: str) -> dict[str, str]:
        """Variables for a process that lives here; without a `server` the file may name one."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("PAIRCHAT_", "XDG_"))}
        where = {"PAIRCHAT_SERVER": server} if server else {}
        return ours | {"HOME": str(self.path), **where, **more}

    def sessions(self) -> list[Path]:
        """The sessions that are remembered."""
        return list((self.path / ".local/state/pairchat").glob("*.json"))

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()
