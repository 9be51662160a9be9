"""The home folder of a `pairchat` under test."""

import os
import tempfile
from pathlib import Path


class Home:
    """A separate home, so that no test sees the settings or sessions of another test or of the developer."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pairchat-test-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)

    def environment(self, server: str, **more: str) -> dict[str, str]:
        """Return the variables of a process with this home. Without a `server` its settings may name one."""
        kept = {key: value for key, value in os.environ.items() if not _is_ours(key)}
        where = {"PAIRCHAT_SERVER": server} if server else {}
        return kept | {"HOME": str(self.path), **where, **more}

    def sessions(self) -> list[Path]:
        """Return the files of saved sessions."""
        return list((self.path / ".local/state/pairchat").glob("*.json"))

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def _is_ours(variable: str) -> bool:
    """Return True if `pairchat` would read the variable."""
    return variable.startswith(("PAIRCHAT_", "XDG_")) or variable.lower().endswith("_proxy")
