"""Where files of this user belong (XDG)."""

import os
from pathlib import Path


def user_folder(variable: str, otherwise: str) -> Path:
    """Ours in the folder that the variable names, else in this one of the home folder."""
    base = os.environ.get(variable) or ""
    return (Path(base) if base.startswith("/") else Path.home() / otherwise) / "pairchat"
