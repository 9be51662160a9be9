"""The released files: the sdist, the wheel that is built from it, and the wheel in an environment with nothing else."""

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import own_environment
from tests.support.server import RedisServer

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IGNORED = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()} | {".git"}
SOURCES = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED)
MADE = ("__pycache__", ".pyc")  # files that running Python makes in these folders

# Installing waits for the network.
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, at: Path | None = None, stdin: str = "", **variables: str) -> str:
    """Run a command that must end with status 0, and return its output."""
    environment = {**own_environment(), **variables}
    ended = subprocess.run(
        command, cwd=at, env=environment, input=stdin, capture_output=True, encoding="utf-8", check=False
    )
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it, as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [wheel] = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def unpacked(built: Path) -> Path:
    """The source tree of the sdist."""
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(built, filter="data")
        else:  # Python 3.11.2
            archive.extractall(built)
    return built / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    places = folder / "bin"
    run(places / "python", "-m", "pip", "install", "--quiet", "--no-compile", wheel)
    return places


def files(root: Path, *folders: str) -> Iterator[str]:
    for folder in folders:
        for path in (root / folder).rglob("*"):
            if path.is_file() and not str(path).endswith(MADE) and not set(path.parts) & set(MADE):
                yield str(path.relative_to(root))


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode())


def test_the_wheel_holds_both_packages_whole_and_nothing_else(wheel: Path) -> None:
    there = zipfile.ZipFile(wheel).namelist()
    expected = [*files(ROOT, "relay"), *(file.removeprefix("cli/") for file in files(ROOT, "cli"))]
    assert sorted(name for name in there if ".dist-info/" not in name) == sorted(expected)
    for needed in ("relay/py.typed", "pairchat/py.typed", "relay/directory/scripts/claim.lua"):
        assert needed in there
    assert {
        "relay/names/tables/confusables.txt",
        "relay/names/tables/repertoire.txt",
        "relay/names/tables/LICENSE",
    } < set(there)


def test_the_wheel_says_what_it_is_and_brings_its_licences(wheel: Path) -> None:
    told = metadata(wheel)
    assert (told["Name"], told["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert told["License-Expression"] == PROJECT["license"]
    assert set(told.get_all("Classifier", [])) == set(PROJECT["classifiers"])
    assert "Typing :: Typed" in PROJECT["classifiers"]
    archive = zipfile.ZipFile(wheel)
    for file in told.get_all("License-File", []):
        [name] = [name for name in archive.namelist() if name.endswith(f".dist-info/licenses/{file}")]
        assert archive.read(name) == (ROOT / file).read_bytes()
    assert told.get_all("License-File") == PROJECT["license-files"]


def test_a_package_index_shows_the_readme_without_links_that_lead_nowhere_there(wheel: Path) -> None:
    told = metadata(wheel)
    shown = str(told.get_payload())
    assert told["Description-Content-Type"] == "text/markdown"
    assert re.findall(r"\]\((?!https?://)[^)]*\)", shown) == []
    assert "`docs/options.md` has all of them" in shown
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in shown.splitlines() if line.startswith("#")][:-1] == re.findall(r"^#.*", readme, re.M)


def test_the_sdist_is_the_source_tree_and_nothing_else(unpacked: Path) -> None:
    assert sorted(files(unpacked, *SOURCES)) == sorted(files(ROOT, *SOURCES))
    loose = {path.name for path in unpacked.iterdir()} - set(SOURCES)
    assert {"Makefile", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"} < loose
    assert not [name for name in loose if (unpacked / name).is_dir()], "made by running something"


@pytest.mark.slow
def test_the_tests_run_out_of_the_sdist(unpacked: Path) -> None:
    """All tests are found there, and those that read files of the repository find them."""
    paths = os.pathsep.join([str(unpacked), str(unpacked / "cli")])
    # Nothing of these files is compiled yet, and pytest's own way to compile them takes thrice as long.
    pytest_ = (sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "--assert=plain")
    run(*pytest_, "--collect-only", at=unpacked, PYTHONPATH=paths)
    chosen = ("tests/docs", *(f"tests/relay/test_{name}.py" for name in ("deploy", "guarantees")))
    told = run(*pytest_, *chosen, at=unpacked, PYTHONPATH=paths)
    assert " passed" in told


def test_the_programs_tell_their_version(clean: Path) -> None:
    assert run(clean / "relay", "--version") == f"relay {PROJECT['version']}\n"
    assert run(clean / "pairchat", "--version") == f"pairchat {PROJECT['version']}\n"
    assert "--redis" in run(clean / "relay", "node", "--help", COLUMNS="200")


def test_the_installed_wheel_is_a_relay_with_a_node_and_a_client(
    clean: Path, redis_server: RedisServer, prefix: str, guests: Guests, tmp_path: Path
) -> None:
    """It has everything that it needs: a node serves, and the client sends a text."""

    class Installed(Node):
        launch = (str(clean / "relay"),)

    node = Installed(tmp_path, redis=redis_server.url, prefix=prefix)
    try:
        bob = guests.text(node, "bob")
        address = ":".join(map(str, node.address))
        alice = (clean / "pairchat", "alice", "--to", "bob", "--server", address)
        assert run(*alice, at=tmp_path, stdin="hi\n", XDG_STATE_HOME=str(tmp_path)) == ""
        bob.expect_notice("alice")
        bob.expect_message("alice", "hi")
        bob.expect("Quit.")
        guests.depart()
        node.terminate()
        assert node.wait() == 0
    finally:
        print(node.text())
        node.kill()
