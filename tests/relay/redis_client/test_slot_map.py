"""The answers of a cluster's members are merged to one map from slots to servers. No server is asked here."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.crc import key_slot

from relay.redis_client.slot_map import (
    NOTHING,
    SLOTS,
    Claim,
    Map,
    Redirection,
    View,
    address,
    merged,
    read,
    redirection,
)
from relay.redis_client.slot_map import slot_of as our_slot
from tests.support.rows import each_row

ASKED = "10.0.0.9:7000"
HALF = SLOTS // 2


def view(*claims: tuple[int, int, int, str], given: bool = False, knows: Sequence[str] = ()) -> View:
    """Return the view of a member: (epoch, first, last, server). Each server is named like its host."""
    made = frozenset(Claim(epoch, first, last, name, f"{name}:1") for epoch, first, last, name in claims)
    nodes = {claim.node for claim in made} | set(knows)
    return View(made, frozenset(f"{node}:1" for node in nodes), frozenset(nodes), given)


BEFORE = view((1, 0, HALF - 1, "a"), (2, HALF, SLOTS - 1, "b"), knows=["a2", "b2"])
AFTER = view((3, 0, HALF - 1, "a2"), (2, HALF, SLOTS - 1, "b"), knows=["a2", "b2"])


def homes(found: Map) -> tuple[str | None, str | None]:
    return found.homes[0], found.homes[-1]


@each_row("name", ["relay:{p7}", "relay:inbox:x", "{}", "a{b}{c}", "a{b", "a}b{", "{{x}}", "ü{ß}"])
def test_a_name_has_the_slot_that_servers_give_it(name: str) -> None:
    assert our_slot(name.encode()) == key_slot(name.encode())


class TestMerging:
    def test_an_answer_that_all_members_give_holds(self) -> None:
        assert homes(merged([BEFORE, BEFORE])) == ("a:1", "b:1")
        assert merged([BEFORE]).members == {"a:1", "b:1", "a2:1", "b2:1"}
        assert merged([BEFORE]).primaries == {"a:1", "b:1"}

    def test_a_member_that_missed_a_failover_is_not_followed_however_many_say_the_same(self) -> None:
        """The others have replaced it under a higher epoch, which takes a majority of them."""
        assert homes(merged([BEFORE, AFTER, BEFORE, BEFORE])) == ("a2:1", "b:1")

    def test_of_two_moves_that_two_members_know_both_count(self) -> None:
        other = view((1, 0, HALF - 1, "a"), (4, HALF, SLOTS - 1, "b2"), knows=["a2", "b"])
        assert homes(merged([AFTER, other])) == ("a2:1", "b2:1")

    def test_a_slot_that_moved_is_where_it_went(self) -> None:
        moved = view((5, 0, HALF, "a"), (2, HALF + 1, SLOTS - 1, "b"), knows=["a2"])
        assert merged([BEFORE, moved, BEFORE]).homes[HALF] == "a:1"

    def test_where_no_epoch_is_known_most_are_followed(self) -> None:
        old, new = view((0, 0, 9, "a"), knows=["b"]), view((0, 0, 9, "b"), knows=["a"])
        assert merged([old, new, new]).homes[0] == "b:1"
        assert merged([old, old, new]).homes[0] == "a:1"

    def test_slots_that_nobody_serves_have_no_home(self) -> None:
        found = merged([view((1, 0, 9, "a"))])
        assert (found.homes[9], found.homes[10]) == ("a:1", None)

    def test_of_nothing_comes_nothing(self) -> None:
        assert merged([]) == merged([view(knows=["a"])]) == NOTHING

    def test_an_address_that_is_another_clusters_by_now_is_not_believed(self) -> None:
        stranger = view((9, 0, SLOTS - 1, "x"), knows=["y"])
        assert homes(merged([stranger, BEFORE, BEFORE])) == ("a:1", "b:1")
        assert homes(merged([stranger, stranger, view((1, 0, SLOTS - 1, "a"), given=True)])) == ("a:1", "a:1")

    def test_members_that_know_each_other_through_a_third_are_one_cluster(self) -> None:
        first, last = view((1, 0, HALF - 1, "a")), view((2, HALF, SLOTS - 1, "b"))
        assert homes(merged([first, last, view((1, 0, HALF - 1, "a"), knows=["b"])])) == ("a:1", "b:1")

    def test_a_word_of_one_server_about_one_slot_moves_that_slot(self) -> None:
        found = merged([BEFORE]).moved(3, "c:1")
        assert (found.homes[2:5], len(found.homes)) == (("a:1", "c:1", "a:1"), SLOTS)
        assert "c:1" in found.members


def server(host: bytes | None, port: int = 7000, name: str = "a", *more: Any) -> list[Any]:
    return [host, port, name.encode(), *more]


LINES = """\
a 10.0.0.1:7000@17000 myself,master - 0 0 7 connected 0-99
b 10.0.0.2:7000@17000,name slave a 0 1 7 connected
c 10.0.0.3:7000@17000 master,fail - 1 1 3 disconnected 100-101 [100->-a]
short line
"""


class TestReading:
    def test_claims_have_the_epochs_of_their_primaries(self) -> None:
        rows = [[0, 99, server(b"10.0.0.1"), server(b"10.0.0.2", 7000, "b")], [100, 101, server(b"h", 1, "c")]]
        found = read(rows, LINES, ASKED, given=True)
        assert found.claims == {Claim(7, 0, 99, "a", "10.0.0.1:7000"), Claim(3, 100, 101, "c", "h:1")}
        assert found.members == {"10.0.0.1:7000", "10.0.0.2:7000", "h:1"}
        assert found.nodes == {"a", "b", "c"}
        assert found.given

    def test_without_the_right_to_ask_for_epochs_none_is_known(self) -> None:
        (claim,) = read([[0, 99, server(b"10.0.0.1")]], "", ASKED).claims
        assert claim.epoch == 0

    @each_row(
        ("said", "home"),
        [
            (server(b"name.example", 7001), "name.example:7001"),
            (server(b"2001:db8::1", 7001), "2001:db8::1:7001"),
            (server(b"", 7001), "10.0.0.9:7001"),
            (server(None, 7001), "10.0.0.9:7001"),
            (server(b"?", 7001, "a", [b"ip", b"10.0.0.5"]), "10.0.0.5:7001"),
        ],
    )
    def test_how_a_server_is_reached(self, said: list[Any], home: str) -> None:
        (claim,) = read([[0, 99, said]], "", ASKED).claims
        assert claim.home == home

    def test_a_member_whose_name_is_not_known_yet_serves_nothing_so_far(self) -> None:
        found = read([[0, 99, server(b"?"), server(b"10.0.0.2", 7000, "b")]], "", ASKED)
        assert not found.claims
        assert found.members == {"10.0.0.2:7000"}

    @each_row(
        "rows",
        [
            [[1]],
            [[9, 0, server(b"10.0.0.1")]],
            [[0, SLOTS, server(b"10.0.0.1")]],
            [["x"]],
            [[0, 1, b"x"]],
            [[0, 1, [None]]],
            [None],
            [[0, 1]],
        ],
    )
    def test_a_senseless_answer_is_an_error(self, rows: Any) -> None:
        with pytest.raises(ValueError, match="CLUSTER SLOTS"):
            read(rows, "", ASKED)


@each_row(
    ("refusal", "meant"),
    [
        ("MOVED 42 10.0.0.1:7000", Redirection(42, "10.0.0.1:7000", False)),
        ("ASK 42 10.0.0.1:7000", Redirection(42, "10.0.0.1:7000", True)),
        ("MOVED 42 :7001", Redirection(42, "10.0.0.9:7001", False)),
        ("MOVED 42 ?:7001", None),
        ("MOVED x 10.0.0.1:7000", None),
        ("MOVED 42 10.0.0.1", None),
        ("MOVED 99999 10.0.0.1:7000", None),
        ("MOVED 42", None),
        ("CLUSTERDOWN Hash slot not served", None),
        ("", None),
    ],
)
def test_a_refusal_may_name_another_server(refusal: str, meant: Redirection | None) -> None:
    assert redirection(refusal, ASKED) == meant


def test_an_address_is_a_host_and_a_port() -> None:
    assert address("2001:db8::1:7001") == ("2001:db8::1", 7001)
