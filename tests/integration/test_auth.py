"""Names that need a token: who gets one, and what all others can learn."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.piped import Piped
from tests.integration.conftest import StartNode, lent
from tests.support.clients import TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import OBSERVER, Party
from tests.support.process import wait_until
from tests.support.server import RedisServer
from tests.support.tokens import Issuer, jwk_set

NO_PROOF = "* This name needs a valid token."


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer") / "key")


@pytest.fixture(scope="module")
def party(issuer: Issuer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    proof, key = issuer.token(OBSERVER), str(issuer.file)
    party = Party(
        tmp_path_factory.mktemp("party"), redis_server.url, 2, auth=proof, auth_jwt_key=key, log_level="debug"
    )
    yield party
    party.stop()


@pytest.fixture
def places(party: Party, guests: Guests) -> Iterator[tuple[Node, Node]]:
    """Two nodes of one cluster, shared by all tests here."""
    with lent(party, guests) as (one, two):
        yield one, two


@pytest.fixture(params=["same node", "two nodes"])
def both(request: pytest.FixtureRequest, places: tuple[Node, Node]) -> tuple[Node, Node]:
    """The nodes of the two connections of one user."""
    return places if request.param == "two nodes" else (places[0], places[0])


def person(guests: Guests, node: Node, name: str, token: str) -> TextClient:
    client = guests.text(node)
    client.name = name
    client.send(f"{name} {token}")
    client.expect("OK")
    return client


def test_all_three_dialects_bring_a_token(guests: Guests, places: tuple[Node, Node], issuer: Issuer) -> None:
    alice = person(guests, places[0], "alice", issuer.token("alice"))
    bob = guests.json(places[1], "bob", auth=issuer.token("bob"))
    carol = guests.classic(places[0])
    carol.name = "carol"
    carol.send(f"carol {issuer.token('carol')}")
    carol.expect("OK")
    alice.call("bob")
    bob.expect("paired", name="alice")
    alice.send("hi there")
    bob.expect("msg", text="hi there")


def test_nothing_is_learnt_without_a_good_token(guests: Guests, places: tuple[Node, Node], issuer: Issuer) -> None:
    """Every invalid token gets the same answer, for a name that is free, taken or invalid."""
    guests.json(places[1], "taken", auth=issuer.token("taken"))
    expired = issuer.token("free", exp=int(time.time()) - 100)
    client, program = guests.text(places[0]), guests.json(places[0])
    for name in ("free", "taken", "not:a:name", "quit", "x" * 40):
        for token in ("", "rubbish", expired, issuer.token("other"), issuer.token("other") + "x"):
            client.send(f"{name} {token}")
            client.expect(NO_PROOF)
            program.send("hello", name=name, auth=token)
            assert program.frame() == {
                "type": "error",
                "code": "bad_auth",
                "message": "This name needs a valid token.",
                "name": name,
            }
    program.send("hello", name="free")
    program.expect("error", code="bad_auth")
    program.send("hello", name="free", auth=issuer.token("free"))
    program.expect("welcome")
    program.name = "free"


def test_a_resume_needs_a_token_too(guests: Guests, places: tuple[Node, Node], issuer: Issuer) -> None:
    alice = guests.json(places[0], "alice", auth=issuer.token("alice"))
    alice.reset()
    again = guests.json(places[1])
    again.send("hello", name="alice", token=alice.token)
    again.expect("error", code="bad_auth")
    again.send("hello", name="alice", token=alice.token, auth=issuer.token("alice"))
    again.expect("welcome", resumed=True)


def test_the_same_user_takes_a_live_name_over(guests: Guests, both: tuple[Node, Node], issuer: Issuer) -> None:
    old = guests.json(both[0], "alice", acks=True, auth=issuer.token("alice"))
    bob = guests.json(both[1], "bob", acks=True, auth=issuer.token("bob"))
    old.call("bob")
    bob.expect("paired", name="alice")
    old.send("msg", id=1, text="hi")
    bob.expect("msg", text="hi")
    new = guests.json(both[1], "alice", auth=issuer.token("alice"))
    old.expect("unconfirmed", reason="name_lost", **{"from": 1, "to": 1})
    old.expect("replaced")
    old.expect_closed()
    bob.expect("left", name="alice", reason="lost")
    bob.send("to", name="alice")
    bob.expect("paired", name="alice")
    new.expect("paired", name="bob")


def test_a_person_takes_a_name_over_from_a_person(guests: Guests, both: tuple[Node, Node], issuer: Issuer) -> None:
    old = person(guests, both[0], "alice", issuer.token("alice"))
    new = person(guests, both[1], "alice", issuer.token("alice"))
    old.expect("* Your name now belongs to another connection.")
    old.expect_closed()
    new.expect_nothing_so_far()


def test_a_name_is_taken_over_from_a_program_that_is_away_too(
    guests: Guests, both: tuple[Node, Node], issuer: Issuer
) -> None:
    old = guests.json(both[0], "alice", auth=issuer.token("alice"))
    old.reset()
    person(guests, both[1], "alice", issuer.token("alice"))


def test_nobody_takes_over_a_name_that_only_looks_alike(
    guests: Guests, both: tuple[Node, Node], issuer: Issuer
) -> None:
    """Both names have one skeleton, and are still two names."""
    guests.json(both[0], "éа", auth=issuer.token("éа"))  # the second letter is Cyrillic
    other = guests.json(both[1])
    other.send("hello", name="éa", auth=issuer.token("éa"))
    other.expect("error", code="name_taken")


def test_many_claims_at_once_leave_one_owner(guests: Guests, places: tuple[Node, Node], issuer: Issuer) -> None:
    token = issuer.token("alice")
    crowd = [guests.json(places[number % 2]) for number in range(20)]
    for client in crowd:
        client.name = "alice"
        client.send("hello", name="alice", auth=token)
    told = [client.frame()["type"] for client in crowd]
    assert set(told) <= {"welcome", "replaced", "error"}
    owners = [client for client, first in zip(crowd, told, strict=True) if first == "welcome"]

    def one_is_left() -> bool:
        for client in owners:
            client.send("ping")
        owners[:] = [client for client in owners if client.frame()["type"] == "pong"]
        return len(owners) == 1

    wait_until(one_is_left, "all earlier owners know that they were replaced")
    assert guests.json(places[0], "probe", auth=issuer.token("probe")).who("alice") == "free"


def test_a_hangup_signal_brings_a_new_key(guests: Guests, start_node: StartNode, tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "key")
    node = start_node(auth_jwt_key=issuer.file)
    old = person(guests, node, "old", issuer.token("old"))
    other = Issuer(issuer.file)
    node.hang_up()
    node.wait_for_line("reloaded")
    person(guests, node, "new", other.token("new"))
    stale = guests.text(node)
    stale.send(f"stale {issuer.token('stale')}")
    stale.expect(NO_PROOF)
    old.expect_nothing_so_far()
    issuer.file.write_text("rubbish")
    node.hang_up()
    assert "--auth-jwt-key" in node.wait_for_line("not reloaded")
    person(guests, node, "newer", other.token("newer"))


def test_keys_are_rotated_without_a_moment_in_which_a_good_token_is_refused(
    guests: Guests, start_node: StartNode, tmp_path: Path
) -> None:
    """An identity provider does this: it publishes the new key, uses it, and then removes the old one."""
    old, new = (
        Issuer(tmp_path / "old", algorithm="ES256", kid="1"),
        Issuer(tmp_path / "new", algorithm="RS256", kid="2"),
    )
    file = tmp_path / "jwks.json"
    file.write_bytes(jwk_set(old))
    node = start_node(auth_jwt_key=file, auth_jwt_audience="chat", auth_jwt_issuer="https://id.example")
    claims = {"aud": ["chat", "mail"], "iss": "https://id.example"}
    assert "algorithms=ES256 keys=1 kids=1" in node.wait_for_line("names need a token")
    person(guests, node, "one", old.token("one", **claims))
    for issuers, line in (([old, new], "algorithms=ES256,RS256 keys=2"), ([new], "algorithms=RS256 keys=1 kids=2")):
        file.write_bytes(jwk_set(*issuers))
        node.hang_up()
        node.wait_for_line(line)
        for issuer in issuers:
            person(
                guests, node, f"of{len(issuers)}{issuer.kid}", issuer.token(f"of{len(issuers)}{issuer.kid}", **claims)
            )
    late = guests.text(node)
    late.send(f"late {old.token('late', **claims)}")
    late.expect(NO_PROOF)


def test_tokens_are_not_logged(guests: Guests, places: tuple[Node, Node], issuer: Issuer) -> None:
    good, bad = issuer.token("alice"), issuer.token("bob")
    alice = person(guests, places[0], "alice", good)
    client = guests.text(places[0])
    client.send(f"alice {bad}")
    client.expect(NO_PROOF)
    alice.send("Quit")
    alice.expect("Quit")
    for node in places:
        assert good not in node.text()
        assert bad not in node.text()


def test_without_a_key_a_token_is_ignored_or_no_part_of_a_name(guests: Guests, start_node: StartNode) -> None:
    node = start_node()
    guests.json(node, "alice", auth="whatever")
    client = guests.text(node)
    client.send("bob token")
    client.expect_notice("white space")


@pytest.mark.parametrize("by", ["file", "variable"])
def test_pairchat_brings_a_token(
    by: str, guests: Guests, places: tuple[Node, Node], issuer: Issuer, tmp_path: Path
) -> None:
    bob = guests.json(places[1], "bob", acks=True, auth=issuer.token("bob"))
    file = tmp_path / "token"
    file.write_text(issuer.token("alice") + "\n")
    words = ["--auth-file", str(file)] if by == "file" else []
    variables: Any = {} if by == "file" else {"PAIRCHAT_AUTH": issuer.token("alice")}
    with Piped("alice", "--to", "bob", *words, server=places[0].server, **variables) as alice:
        bob.expect("paired", name="alice")
        alice.type(b"hi\n")
        bob.expect("msg", text="hi")
        alice.end_input()
        bob.send("ack", id=1)
        assert alice.ended()[0] == 0


def test_pairchat_without_a_token_says_so(places: tuple[Node, Node], tmp_path: Path) -> None:
    address = places[0].server
    with Piped("alice", "--to", "bob", server=address) as alice:
        status, _, told = alice.ended()
    assert (status, told) == (4, ["pairchat: This name needs a valid token."])
    with Piped("alice", "--to", "bob", "--auth-file", str(tmp_path / "none"), server=address) as alice:
        status, _, told = alice.ended()
    assert status == 2
    assert "can't read" in told[-1]
