"""Where files of this user belong (XDG)."""

import os
from pathlib import Path


def user_folder(variable: str, otherwise: str) -> Path | None:
    """Ours in the folder that the variable names, else in this one of the home folder; None if there is no home."""
    base = os.environ.get(variable) or ""
    folder = Path(base) if base.startswith("/") else home(otherwise)
    return folder and folder / "pairchat"


def home(folder: str) -> Path | None:
    """This folder in the home folder; None where a user has neither HOME nor an entry among the system's users."""
    try:
        return Path.home() / folder
    except RuntimeError:
        return None
