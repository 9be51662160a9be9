"""The pictures show what is: the import contract, and functions that exist."""

import ast
from pathlib import Path
from typing import Any

import pytest

from tools import pictures


@pytest.mark.parametrize("file", pictures.pictures(), ids=lambda file: file.name)
def test_they_are_up_to_date(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == pictures.pictures()[file], "run `make pictures`"


def test_every_module_of_the_contract_is_in_its_row() -> None:
    contract: dict[str, Any] = {
        "type": "layers",
        "name": "Order",
        "containers": ["relay"],
        "layers": ["app", "bus | link"],
    }
    pure: dict[str, Any] = {"type": "forbidden", "name": "The core does no I/O", "source_modules": ["relay.link"]}
    drawn = pictures.layers([contract, pure])
    app, bus, link = (drawn.split(f">{name}<")[0].splitlines()[-1].split('y="')[1] for name in ("app", "bus", "link"))
    assert float(app.split('"')[0]) < float(bus.split('"')[0])
    assert bus == link
    assert drawn.count(pictures.PURE) == 2, "link, and the legend"


@pytest.mark.parametrize(("file", "function"), [step[:2] for step in (*pictures.SENDING, *pictures.RECEIVING)])
def test_the_trip_goes_through_functions_that_exist(file: str, function: str) -> None:
    body: list[ast.stmt] = ast.parse((pictures.ROOT / "relay" / file).read_text(encoding="utf-8")).body
    for name in function.split("."):
        [found] = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name]
        body = found.body


def test_a_message_can_be_followed_through_five_short_files() -> None:
    assert len(pictures.FILES) == 5
    for file in pictures.FILES:
        assert len((pictures.ROOT / "relay" / file).read_text(encoding="utf-8").splitlines()) <= 400, file
    page = (pictures.DOCS / "architecture.md").read_text(encoding="utf-8")
    assert all(f"`{file}`" in page.partition("## One message")[2] for file in pictures.FILES)
