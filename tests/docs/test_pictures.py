"""The pictures show what is: the import contract, and functions that exist."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tools import pictures


@pytest.mark.parametrize("file", pictures.pictures(), ids=lambda file: file.name)
def test_they_are_up_to_date(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == pictures.pictures()[file], "run `make pictures`"


def test_every_package_of_the_contract_is_in_its_row_with_its_modules() -> None:
    contract: dict[str, Any] = {
        "type": "layers",
        "name": "Order",
        "containers": ["relay"],
        "layers": ["cli", "bus | session"],
    }
    pure: dict[str, Any] = {"type": "forbidden", "name": "The core does no I/O", "source_modules": ["relay.session"]}
    drawn = pictures.layers([contract, pure], {"bus": ["link"], "session": ["chat", "window"]})
    cli, bus, session = (height_of(name, drawn) for name in ("cli", "bus", "session"))
    assert cli < bus
    assert bus == session
    assert bus < height_of("link", drawn) == height_of("chat window", drawn)
    assert drawn.count(pictures.PURE) == 2, "session, and the legend"


def height_of(text: str, drawn: str) -> float:
    """How far below the top this text stands."""
    return float(drawn.split(f">{text}<")[0].splitlines()[-1].split('y="')[1].split('"')[0])


def test_no_module_of_a_package_is_left_out() -> None:
    drawn = set(re.findall(r"\w+", pictures.layers(pictures.contracts(), pictures.modules())))
    for package in (pictures.ROOT / "relay").glob("*/__init__.py"):
        for module in package.parent.glob("*.py"):
            assert module.stem == "__init__" or module.stem in drawn, module


@pytest.mark.parametrize(("file", "function"), [step[:2] for step in (*pictures.SENDING, *pictures.RECEIVING)])
def test_the_trip_goes_through_functions_that_exist(file: str, function: str) -> None:
    body: list[ast.stmt] = ast.parse((pictures.ROOT / "relay" / file).read_text(encoding="utf-8")).body
    for name in function.split("."):
        [found] = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name]
        body = found.body


def test_the_page_follows_a_message_through_the_files_of_the_picture() -> None:
    page = (pictures.DOCS / "architecture.md").read_text(encoding="utf-8")
    for file in pictures.FILES:
        assert f"`{file}`" in page.partition("## One message")[2], file
