"""This module says where files of this user belong (XDG).

It does so itself since platformdirs would put them in another place on macOS, would take a relative path in a variable,
and would make a folder that is called `~` for a user without a home.
"""

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
