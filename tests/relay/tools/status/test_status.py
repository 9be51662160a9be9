"""A node's report, and how it is shown."""

import json
import math
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from relay.observe.status_report import Report, decode, encode
from relay.tools.status import formatting, gather
from relay.tools.status.gather import Node, Server, Status
from tests.support.rows import each_row

REPORT = Report("n1", "1.0", 100.0, 3700.0, 5.0, "", 3, 2, 2, 10.5, 9.0, 1, 2048)


def status(*nodes: Node) -> Status:
    return Status("relay", "standalone", nodes, (Server("h:1", "master", "Valkey 9", 1024, 3, "noeviction", ()),))


def drawn(status: Status, width: int = 120) -> list[str]:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(formatting.tables(status))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_report_is_read_as_it_was_written() -> None:
    assert decode(encode(REPORT)) == REPORT


@given(st.binary())
def test_garbage_is_no_report(raw: bytes) -> None:
    assert decode(raw) is None


def test_a_newer_node_may_say_more_and_an_older_one_less() -> None:
    said = msgspec.json.decode(encode(REPORT))
    assert decode(msgspec.json.encode(said | {"more": 1})) == REPORT
    needed = {key: said[key] for key in ("name", "version", "at", "up", "lease")}
    older = decode(msgspec.json.encode(needed))
    assert older is not None
    assert (older.trouble, older.users) == ("", 0)


@each_row(
    ("left", "trouble", "state", "reason", "drawn_as"),
    [
        (3.5, "", "ready", "", "ready"),
        (3.5, "draining", "draining", "draining", "draining"),
        (3.5, "deaf: no echo", "unready", "deaf: no echo", "deaf: no echo"),
        (-90.0, "", "dead", "lease lapsed 1.5 min ago", "dead: lease lapsed 1.5 min ago"),
        (None, "", "dead", "no lease", "dead: no lease"),
    ],
)
def test_a_node_lives_as_long_as_its_lease(
    left: float | None, trouble: str, state: str, reason: str, drawn_as: str
) -> None:
    node = Node("u", msgspec.structs.replace(REPORT, trouble=trouble), left)
    assert any(drawn_as in line for line in drawn(status(node)))
    (shown,) = json.loads(formatting.as_json(status(node)))["nodes"]
    assert (shown["state"], shown["reason"]) == (state, reason)
    assert node.lives is (left is not None and left > 0)


def test_a_node_whose_lease_can_not_be_read_is_unknown() -> None:
    (shown,) = json.loads(formatting.as_json(status(Node("u", REPORT, None, unknown=True))))["nodes"]
    assert (shown["state"], shown["reason"]) == ("unknown", "its lease can't be read")


# private: how it would look in a table is tested below
def test_a_node_that_was_started_again_is_listed_once() -> None:
    def one(node_id: str, name: str, at: float, left: float | None) -> Node:
        return Node(node_id, msgspec.structs.replace(REPORT, name=name, at=at), left)

    lives = [one("a", "n1", 1.0, 3.0), one("b", "n1", 2.0, -1.0), one("c", "n1", 3.0, None)]
    # The clock of its machine may have been set back between two starts.
    dead = [one("d", "n2", 9.0, None), one("e", "n2", 3.0, -5.0), one("f", "n2", 4.0, -9.0)]
    twins = [one("g", "n3", 1.0, 3.0), one("h", "n3", 2.0, 3.0)]
    assert [node.node_id for node in gather._once([*lives, *dead, *twins])] == ["a", "e", "g", "h"]


def test_each_field_of_the_json_is_documented_and_no_other() -> None:
    """docs/operations.md has a table of the fields."""
    shown = json.loads(formatting.as_json(status(Node("u", REPORT, 3.5))))
    fields = {key for key in shown if key not in ("nodes", "redis")}
    fields |= {f"nodes[].{key}" for key in shown["nodes"][0]} | {f"redis.{key}" for key in shown["redis"]} - {
        "redis.servers"
    }
    fields |= {f"redis.servers[].{key}" for key in shown["redis"]["servers"][0]}
    page = (Path(__file__).parents[4] / "docs" / "operations.md").read_text()
    table = page.partition("## What `relay status --json` says")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == fields
    assert all(f"`{state}`" in table for state in formatting.State)


def test_living_nodes_of_one_name_are_told_apart() -> None:
    twins = Node("u", REPORT, 3.5), Node("v", REPORT, 3.5)
    dead = Node("w", msgspec.structs.replace(REPORT, name="n2"), -1.0)
    other = Node("x", msgspec.structs.replace(REPORT, name="n2"), 3.5)
    shown = status(*twins, dead, other)
    assert json.loads(formatting.as_json(shown))["shared_names"] == {"n1": 2}
    lines = drawn(shown)
    assert lines[1] == "2 nodes are called n1: give each a --name of its own"
    assert [line.partition(" 1.0")[0].rstrip() for line in lines[3:7]] == ["n1 (u)", "n1 (v)", "n2", "n2"]
    assert json.loads(formatting.as_json(status(other, dead)))["shared_names"] == {}


def test_the_age_of_a_lease_is_never_below_zero() -> None:
    assert Node("u", REPORT, 3.5).age == 1.5
    assert Node("u", REPORT, 7.0).age == 0.0, "clocks differ a little"
    assert Node("u", REPORT, None).age is None


def test_totals_are_of_those_that_live() -> None:
    shown = json.loads(
        formatting.as_json(status(Node("u", REPORT, 1.0), Node("v", REPORT, 1.0), Node("w", REPORT, -1.0)))
    )
    assert (shown["users"], shown["pairs"], shown["received"], shown["connections"]) == (4, 2, 21.0, 6)


def test_nobody_is_a_status_too() -> None:
    assert drawn(status())[0] == "relay: 0 nodes, 0 users, 0 pairs, 0 messages/s in, 0 out"


def test_nodes_that_can_not_be_listed_are_told() -> None:
    shown = Status("relay", "standalone", (), (), trouble="no answer\x1b[2J")
    assert drawn(shown)[1] == r"it can't be read which nodes there are: no answer\x1b[2J"
    assert json.loads(formatting.as_json(shown))["trouble"] == "no answer\x1b[2J"


def test_a_table_fits_into_80_columns() -> None:
    lines = drawn(status(Node("u", REPORT, 3.5)), 80)
    assert lines[1].split() == [
        "node",
        "version",
        "state",
        "lease",
        "up",
        "users",
        "paired",
        "in/s",
        "out/s",
        "unconf.",
    ]
    assert lines[2].split() == ["n1", "1.0", "ready", "1.5/5", "s", "1.0", "h", "2", "2", "10", "9", "1"]
    assert len(lines) == 5


def test_a_report_that_others_wrote_can_move_no_cursor() -> None:
    evil = msgspec.structs.replace(REPORT, name="n\x1b[2J[bold]x", version="\n1", trouble="\u202e")
    text = "\n".join(drawn(status(Node("u", evil, 1.0))))
    assert r"n\x1b[2J[bold]x" in text
    assert r"\n1" in text
    assert "\u202e" not in text
    assert json.loads(formatting.as_json(status(Node("u", evil, 1.0))))["nodes"][0]["name"] == evil.name


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB")])
def test_bytes_are_shown_in_a_fitting_unit(count: int, shown: str) -> None:
    assert formatting._bytes(count) == shown  # private: the table rounds and pads it


def test_numbers_that_make_no_sense_are_shown_all_the_same() -> None:
    """JSON has no infinity: msgspec reads only finite numbers, and refuses any other report."""
    raw = b'{"name":"n","version":"1","at":1e999,"up":1,"lease":5}'
    found = decode(raw)
    assert found is None or math.isfinite(found.at)
