"""The pictures match the import contract, the functions in the code, and the table of transitions."""

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from relay.protocol.json_frames import ClientFrame, NodeFrame
from relay.session.peer_messages import Mail
from relay.session.session import NAMED, TRANSITIONS, State, Transition
from tests.support.rows import each_row
from tools import pictures


@pytest.mark.parametrize("file", pictures.pictures(), ids=lambda file: file.name)
def test_the_pictures_are_up_to_date(file: Path) -> None:
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
    """Return the distance of this text from the top."""
    return float(drawn.split(f">{text}<")[0].splitlines()[-1].split('y="')[1].split('"')[0])


def test_no_module_of_a_package_is_left_out() -> None:
    drawn = set(re.findall(r"\w+", pictures.layers(pictures.contracts(), pictures.modules())))
    for package in (pictures.ROOT / "relay").glob("*/__init__.py"):
        for module in package.parent.glob("*.py"):
            assert module.stem == "__init__" or module.stem in drawn, module


@each_row(("file", "function"), [step[:2] for step in (*pictures.SENDING, *pictures.RECEIVING)])
def test_the_trip_goes_through_functions_that_exist(file: str, function: str) -> None:
    body: list[ast.stmt] = ast.parse((pictures.ROOT / "relay" / file).read_text(encoding="utf-8")).body
    for name in function.split("."):
        [found] = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name]
        body = found.body


def test_the_page_follows_a_message_through_the_files_of_the_picture() -> None:
    page = (pictures.DOCS / "architecture.md").read_text(encoding="utf-8")
    for file in pictures.FILES:
        assert f"`{file}`" in page.partition("## One message")[2], file


def test_the_states_are_drawn_with_every_transition_of_the_table() -> None:
    drawn = pictures.states()
    for name in (*State, *Transition):
        assert drawn.count(f">{name.name}<") == 1
    moves = [
        (before, after) for moves in TRANSITIONS.values() for before, after in moves.items() if before is not after
    ]
    assert drawn.count("marker-end") == drawn.count("<circle") == len(moves)
    assert drawn.count(pictures.PURE) == len(NAMED) + 1, "the states with a name, and the legend"


@each_row("step", pictures.RESUME, ids=lambda step: step.what)
def test_each_step_of_a_resume_is_something_that_there_is_and_fits(step: pictures.Step) -> None:
    scripts = {file.stem for file in (pictures.ROOT / "relay" / "directory" / "scripts").glob("*.lua")}
    known = {
        (pictures.CLIENT, pictures.NEW): {str(frame.__struct_config__.tag) for frame in get_args(ClientFrame)},
        (pictures.NEW, pictures.CLIENT): {str(frame.__struct_config__.tag) for frame in get_args(NodeFrame)},
        (pictures.NEW, pictures.DIRECTORY): scripts,
        (pictures.DIRECTORY, pictures.NEW): {"fencing"},
    }
    mail = {kind.__name__ for kind in get_args(Mail)}
    assert re.split(r"\W", step.what)[0] in known.get((step.sender, step.receiver), mail)
    assert len(step.what) * pictures.CHARACTER < pictures.STEP_WIDTH - 8


def test_a_resume_ends_with_one_session_that_is_active() -> None:
    here, there = State.NAMELESS, State.ACTIVE
    for step in pictures.RESUME:
        here = TRANSITIONS[step.transition][here] if step.transition is not None else here
        there = TRANSITIONS[step.former][there] if step.former is not None else there
    assert (here, there) == (State.ACTIVE, State.ENDED)
