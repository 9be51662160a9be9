"""Tests of the tool that moves and renames: its edits, what it leaves alone, and that its proof finds other changes."""

import ast

import pytest

from tests.support.rows import each_row
from tools.rename import verify_names
from tools.rename.moves import split_off
from tools.rename.names import Names, applied, edits
from tools.rename.pages import wrapped
from tools.rename.rewrite import rewritten
from tools.rename.table import Split, Table
from tools.rename.verify import compared

FILES = (
    "benchmarks/x.py",
    "relay/__init__.py",
    "relay/mail.py",
    "relay/names.py",
    "relay/peer.py",
    "relay/unicode/__init__.py",
    "relay/directory/__init__.py",
    "relay/directory/lease.py",
    "relay/torture/__init__.py",
    "relay/torture/lab.py",
    "tests/relay/test_peer.py",
)


MODULES = {
    "relay.directory": "relay.directory.directory",
    "relay.names": "relay.names.parse",
    "relay.peer": "relay.net.tcp_health",
    "relay.torture": "relay.tools.torture",
    "relay.unicode": "relay.names.tables",
}
SPLIT = {"from": "relay.mail", "to": "relay.model", "names": ["Party"]}


@pytest.fixture
def table() -> Table:
    modules = MODULES | {"relay.mail": "relay.session.peer_messages"}
    moves = {"modules": modules, "inside": {"relay.directory": "directory.py"}, "split": [SPLIT]}
    return Table(FILES, moves, {"files": {"tests/relay/test_peer.py": "tests/relay/net/test_tcp_health.py"}})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from relay.peer import alive\n", "from relay.net.tcp_health import alive\n"),
        ("from relay.torture.lab import Lab\n", "from relay.tools.torture.lab import Lab\n"),
        ("from relay.directory import Directory\n", "from relay.directory.directory import Directory\n"),
        ("from relay.directory.lease import Lease\n", "from relay.directory.lease import Lease\n"),
        ("import relay.peer\nrelay.peer.alive()\n", "import relay.net.tcp_health\nrelay.net.tcp_health.alive()\n"),
        ("from relay import peer\npeer.alive()\n", "from relay.net import tcp_health\ntcp_health.alive()\n"),
        ("from relay import peer as kernel\n", "from relay.net import tcp_health as kernel\n"),
        (
            "from relay import peer\ndef f(peer):\n    peer.alive()\n",
            "from relay.net import tcp_health\ndef f(peer):\n    peer.alive()\n",
        ),
        (
            "from relay import names\nparse = names.parse\n",
            "from relay.names import parse as names\nparse = names.parse\n",
        ),
        (
            "from relay.mail import Party, Text\n",
            "from relay.session.peer_messages import Text\nfrom relay.model import Party\n",
        ),
        ("x = 'relay.peer.ALIVE'  # relay/peer.py\n", "x = 'relay.net.tcp_health.ALIVE'  # relay/net/tcp_health.py\n"),
        (
            "x = 'from relay import peer; peer.alive()'\n",
            "x = 'from relay.net import tcp_health; tcp_health.alive()'\n",
        ),
        ("x = 'relay.example', '/etc/relay/peer.py'\n", "x = 'relay.example', '/etc/relay/peer.py'\n"),
    ],
)
def test_a_source_has_the_new_names(before: str, after: str, table: Table) -> None:
    new = rewritten("benchmarks/x.py", before, table)
    assert sorted(new.splitlines()) == sorted(after.splitlines())


def test_a_test_that_goes_deeper_finds_the_same_folder(table: Table) -> None:
    before = "ROOT = Path(__file__).parents[2]\n"
    assert rewritten("tests/relay/test_peer.py", before, table) == "ROOT = Path(__file__).parents[3]\n"


def test_a_page_has_the_new_paths(table: Table) -> None:
    assert table.text("`relay/peer.py`, `relay/test_peer.py`, `relay/unicode/LICENSE`") == (
        "`relay/net/tcp_health.py`, `relay/net/test_tcp_health.py`, `relay/names/tables/LICENSE`"
    )


def test_what_is_split_off_takes_its_comment_with_it() -> None:
    text = '"""A."""\n\nfrom relay.b import c\n\n# Why.\nONE = 1\nTWO = 2\nprint(ONE)\n'
    rest, moved = split_off(text, Split("relay.a", "relay.new", ("ONE",), {}, "", {}))
    assert "# Why.\nONE = 1\n" in moved
    assert "Why" not in rest
    assert "TWO = 2\nprint(ONE)" in rest
    assert "from relay.new import ONE\n" in rest


@pytest.mark.parametrize(
    ("new", "same"),
    [
        ("from relay.net import tcp_health\n\ntcp_health.alive(1)\n", True),
        ("from relay.net import tcp_health\n\ntcp_health.alive(2)\n", False),
        ("from relay.net import tcp_health\n\ntcp_health.dead(1)\n", False),
        ("from relay.net import tcp_health\n\nother.alive(1)\n", False),
        ("from relay.net import tcp_health\n", False),
    ],
)
def test_the_proof_finds_every_other_change(new: str, same: bool, table: Table) -> None:
    old = ast.parse("from relay import peer\n\npeer.alive(1)\n")
    assert (not list(compared("benchmarks/x.py", old, ast.parse(new), table))) == same


def test_a_paragraph_that_became_too_wide_is_wrapped_and_no_other() -> None:
    wide = "- " + "word " * 40
    assert wrapped(f"{wide}\n", f"{wide}\n") == f"{wide}\n"
    lines = wrapped(f"{wide}\n", "").splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("  word")


HERE = "class Old:\n    pass\n\n\ndef f(x: 'Old') -> Old:\n    return Old()\n"


@each_row(
    ("before", "after"),
    [
        ("from relay.a import Old\nOld()\n", "from relay.a import New\nNew()\n"),
        ("from relay.a import Old as Other\nOther()\n", "from relay.a import New as Other\nOther()\n"),
        ("from relay import a\na.Old()\n", "from relay import a\na.New()\n"),
        ("from relay import a\nsetattr(a, 'Old', 1)\n", "from relay import a\nsetattr(a, 'Old', 1)\n"),
        ("from relay import a\npatch.setattr(a, 'Old', 1)\n", 'from relay import a\npatch.setattr(a, "New", 1)\n'),
        ("from relay.a import Old\ndef f(Old):\n    Old()\n", "from relay.a import New\ndef f(Old):\n    Old()\n"),
        ("Old = 1\nprint(Old)\n", "Old = 1\nprint(Old)\n"),
        ("x = 1  # see `Old.name`, and an Old one\n", "x = 1  # see `New.name`, and an Old one\n"),
        (HERE, HERE.replace("Old", "New")),
    ],
)
def test_a_definition_has_its_new_name_wherever_it_is_meant(before: str, after: str) -> None:
    module = "relay/a.py" if before is HERE else "tests/b.py"
    names = Names({"relay/__init__.py": "", "relay/a.py": HERE, module: before}, {"globals": {"relay.a.Old": "New"}})
    assert applied(before, edits(module.removesuffix(".py").replace("/", "."), before, names)) == after


@pytest.mark.parametrize(
    ("new", "same"),
    [
        ("def f(node_id): return node_id + other\n", True),
        ("def f(node_id): return node_id + third\n", False),
        ("def f(node_id): return uid + other\n", True),  # mypy and the linter find this error
        ("def f(node_id, other): return node_id + other\n", False),
    ],
)
def test_the_proof_of_names_allows_the_pairs_of_the_table_only(new: str, same: bool) -> None:
    old = ast.parse("def f(uid): return uid + other\n")
    assert (not list(verify_names.compared(old, ast.parse(new), {("uid", "node_id")}))) == same


def test_two_names_that_became_one_are_noticed() -> None:
    old, new = (ast.parse(f"def f({words}): return 1\n") for words in ("uid, node_id", "node_id, node_id"))
    assert list(verify_names.compared(old, new, {("uid", "node_id")}))
