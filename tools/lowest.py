"""Print pip constraints with the oldest release of each dependency that pyproject.toml allows (`make check-lowest`)."""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])? *>= *([0-9.]+)")


def lowest(pyproject: str) -> list[str]:
    """Return a line `name==version` for each package that a user installs.

    Raises ValueError for a requirement without a lower bound.
    """
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"].values()
    lines = []
    for requirement in (*project["dependencies"], *(one for extra in extras for one in extra)):
        bound = _BOUND.match(requirement)
        if bound is None:
            raise ValueError(f"{requirement!r} has no lower bound")
        lines.append(f"{bound[1]}=={bound[2]}")
    return lines


if __name__ == "__main__":
    print("\n".join(lowest(PYPROJECT.read_text(encoding="utf-8"))))
