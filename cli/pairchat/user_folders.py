"""This module finds the folders for this user's files (XDG base directories).

It doesn't use platformdirs, which would choose another place on macOS, accept a relative path in a variable, and make a
folder called `~` for a user without a home.
"""

import os
from pathlib import Path


def user_folder(variable: str, otherwise: str) -> Path | None:
    """Return the `pairchat` folder in the folder that `variable` names, or in `otherwise` under the home folder.

    Returns None if it is needed and there is no home folder.
    """
    base = os.environ.get(variable) or ""
    folder = Path(base) if base.startswith("/") else home(otherwise)
    return folder and folder / "pairchat"


def home(folder: str) -> Path | None:
    """Return this folder in the home folder, or None for a user with neither HOME nor an entry in the user database."""
    try:
        return Path.home() / folder
    except RuntimeError:
        return None
