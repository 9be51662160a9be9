"""Nodes with options that change how messages are handled and sent, and nothing of what users see."""

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests

LAST = 20


@pytest.mark.parametrize("option", [{"general_way": ""}, {"gather": 0.5}], ids=["general-way", "gather"])
def test_pairs_of_each_kind_talk_across_such_nodes(
    guests: Guests, start_node: StartNode, option: dict[str, str | float]
) -> None:
    one, two = start_node(**option), start_node(**option)
    alice, bob = guests.json(one, "alice"), guests.json(two, "bob", acks=True)
    carol, dave = guests.text(one, "carol"), guests.web(two, "dave")
    alice.call("bob")
    bob.expect("paired", name="alice")
    carol.send("To:dave")
    carol.expect("* You are chatting with dave.")
    dave.expect("paired", name="carol")
    for id in range(1, LAST + 1):
        alice.send("msg", id=id, text=f"to bob {id}")
        bob.expect("msg", id=id, text=f"to bob {id}")
        bob.send("ack", id=id)
        alice.expect("ack", id=id)
        bob.send("msg", id=id, text=f"to alice {id}")
        alice.expect("msg", id=id, text=f"to alice {id}")
        bob.expect("ack", id=id)
        carol.send(f"to dave {id}")
        dave.expect("msg", id=id, text=f"to dave {id}")
        dave.send("msg", id=id, text=f"to carol {id}")
        carol.expect_message("dave", f"to carol {id}")
        dave.expect("ack", id=id)
