"""Calls between two or more sessions, from beginning to end. test_pairing.py has the single steps as a table."""

from collections.abc import Iterator
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.commands_and_events import Call, Leave, Left, Messages, Paired, Quit, Refused, Say, Unconfirmed
from relay.protocol.errors import Presence
from tests.relay.world import Place, World, enter, in_words, pair


@pytest.fixture(params=["one node", "two nodes"])
def places(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[Place, Place]]:
    yield world.place("n1"), world.place("n1" if request.param == "one node" else "n2")


class TestCalling:
    def test_both_users_of_a_call_are_told_once_and_of_the_same_chat(self, places: tuple[Place, Place]) -> None:
        ann, ben = enter(places[0], "Ann", acks=True), enter(places[1], "Ben", program=False)
        chat = pair(ann, ben)
        assert [user.session.chat.id for user in (ann, ben) if user.session.chat] == [chat, chat]
        assert ann.session.presence is ben.session.presence is Presence.BUSY

    def test_each_user_is_told_who_acknowledges_on_the_other_side(
        self, world: World, places: tuple[Place, Place]
    ) -> None:
        ann, ben = enter(places[0], "Ann", acks=True), enter(places[1], "Ben", program=False)
        ann.says(Call("ben"))
        world.settle()
        assert [(e.name, e.acks, e.caller) for e in ann.hears() if isinstance(e, Paired)] == [("Ben", "node", True)]
        assert [(e.name, e.acks, e.caller) for e in ben.hears() if isinstance(e, Paired)] == [("Ann", "client", False)]

    def test_lines_behind_a_call_wait_for_its_outcome(self, world: World, places: tuple[Place, Place]) -> None:
        ann, ben = enter(places[0], "ann", program=False), enter(places[1], "ben")
        ann.says(Call("ben"), Say("hi"), Quit())
        world.settle()
        assert ben.texts() == ["hi"]
        ben.reads()
        assert ann.closed

    def test_the_present_partner_is_confirmed_again_and_hears_nothing(
        self, world: World, places: tuple[Place, Place]
    ) -> None:
        ann, ben = enter(places[0], "ann"), enter(places[1], "Ben")
        chat = pair(ann, ben)
        ann.says(Call("BEN"))
        world.settle()
        assert ann.hears() == [Paired("Ben", chat, "node")]
        assert ben.hears() == []

    def test_each_pairing_has_a_chat_of_its_own(self, world: World, places: tuple[Place, Place]) -> None:
        ann, ben = enter(places[0], "ann"), enter(places[1], "ben")
        chats = set()
        for _ in range(3):
            chats.add(pair(ann, ben))
            ann.says(Leave())
            world.settle()
            ann.hears()
            ben.hears()
        assert len(chats) == 3

    def test_calling_oneself_is_refused(self, places: tuple[Place, Place]) -> None:
        ann = enter(places[0], "Ann")
        ann.says(Call("aNN"))
        assert [in_words(event) for event in ann.hears()] == ["self_chat aNN"]

    @pytest.mark.parametrize("name", ["", "a b", "x" * 33])
    def test_an_invalid_name_is_refused(self, name: str, places: tuple[Place, Place]) -> None:
        ann = enter(places[0], "Ann")
        ann.says(Call(name))
        assert [in_words(event) for event in ann.hears()] == [f"name_invalid {name}"]


class TestBusy:
    def test_the_caller_is_told_and_nobody_else_notices(self, world: World, places: tuple[Place, Place]) -> None:
        ann, ben, cas = enter(places[0], "ann"), enter(places[1], "ben"), enter(places[0], "cas")
        pair(ann, ben)
        cas.says(Call("ben"))
        world.settle()
        assert [in_words(event) for event in cas.hears()] == ["busy ben"]
        assert ann.hears() == ben.hears() == []

    def test_the_old_chat_goes_on_where_the_new_callee_is_busy(self, world: World, places: tuple[Place, Place]) -> None:
        ann, ben = enter(places[0], "ann"), enter(places[1], "ben")
        cas, dot = enter(places[0], "cas"), enter(places[1], "dot")
        pair(ann, ben)
        pair(cas, dot)
        ann.says(Call("cas"), Say("still here", 1))
        world.settle()
        assert [in_words(event) for event in ann.hears()] == ["busy cas"]
        assert ben.texts() == ["still here"]

    def test_the_old_partner_is_left_where_the_new_callee_is_free(
        self, world: World, places: tuple[Place, Place]
    ) -> None:
        ann, ben, cas = enter(places[0], "ann"), enter(places[1], "ben"), enter(places[1], "cas")
        pair(ann, ben)
        ann.says(Call("cas"))
        world.settle()
        assert [in_words(event) for event in ben.hears()] == ["ann left"]
        assert [in_words(event) for event in ann.hears()] == ["ben left", "calling cas"]
        assert [in_words(event) for event in cas.hears()] == ["called by ann"]

    def test_a_switch_waits_until_what_was_said_has_its_outcome(
        self, world: World, places: tuple[Place, Place]
    ) -> None:
        ann, ben, cas = enter(places[0], "ann"), enter(places[1], "ben"), enter(places[1], "cas")
        pair(ann, ben)
        ann.says(Say("a", 1), Call("cas"), Say("b", 2))
        world.settle()
        assert cas.hears() == []
        ben.reads()
        assert [event.texts for event in cas.hears() if isinstance(event, Messages)] == [["b"]]
        assert not [event for event in ann.hears() if isinstance(event, Unconfirmed)]


class TestMutualCalls:
    @given(st.data())
    def test_mutual_calls_become_exactly_one_pair_whatever_arrives_first(self, data: st.DataObject) -> None:
        world = World()
        ann = enter(world.place("n1"), "ann")
        ben = enter(world.place(data.draw(st.sampled_from(["n1", "n2"]))), "ben")
        first, second = data.draw(st.permutations([(ann, "ben"), (ben, "ann")]))
        first[0].says(Call(first[1]))
        for _ in range(data.draw(st.integers(0, 4))):
            if choices := world.choices():
                world.happen(data.draw(st.sampled_from(choices)))
        second[0].says(Call(second[1]))
        while choices := world.choices():
            world.happen(data.draw(st.sampled_from(choices)))
        assert ann.session.chat is not None
        assert ben.session.chat is not None
        assert ann.session.chat.id == ben.session.chat.id
        for user in (ann, ben):
            told = {event.chat for event in user.told if isinstance(event, Paired)}
            assert told == {ann.session.chat.id}
            assert not [event for event in user.told if isinstance(event, Refused | Left)]
            assert not user.session.blocked

    def test_each_caller_is_told_once_where_both_calls_cross(self, world: World) -> None:
        ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
        ann.says(Call("ben"))
        ben.says(Call("ann"))
        world.settle()
        assert len(ann.hears()) == len(ben.hears()) == 1


class TestRings:
    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_rings_end_with_at_most_one_pair_and_everyone_else_told_busy(
        self, order: tuple[int, ...], world: World
    ) -> None:
        names = ["ann", "ben", "cas"]
        users = [enter(world.place(f"n{n}"), name) for n, name in enumerate(names)]
        for n in order:
            users[n].says(Call(names[(n + 1) % 3]))
        world.settle()
        told = [[in_words(event).split()[0] for event in user.hears()] for user in users]
        assert sum("calling" in words for words in told) <= 1
        assert sum("called" in words for words in told) == sum("calling" in words for words in told)
        for words in told:
            assert {"calling", "busy"} & set(words)
        assert not any(user.session.blocked for user in users)


class TestGivingUp:
    def test_a_late_acceptance_is_taken_back_and_both_are_free(self, world: World) -> None:
        ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
        ann.says(Call("ben"))
        world.happen("directory")
        world.happen(("n1", "n2"))
        world.pass_time(world.limits.call)
        assert [in_words(event) for event in ann.hears()] == ["unavailable ben"]
        world.settle()
        assert ben.hears() == []
        assert not (ann.session.blocked or ben.session.blocked)
        pair(ben, ann)

    def test_a_caller_whose_word_comes_too_late_is_told_that_it_is_alone(self, world: World) -> None:
        ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
        ann.says(Call("ben"))
        while ("n1", "n2") in world.choices() or not ann.session.chat:
            world.happen(world.choices()[0])
            if ann.session.chat:
                break
        world.pass_time(world.limits.lease)
        world.settle()
        assert ann.session.chat is ben.session.chat is None
        assert [in_words(event) for event in ann.hears()] == ["calling ben", "ben lost"]
        assert ben.hears() == []

    def test_a_callee_that_has_quit_meanwhile_is_no_such_user(self, world: World) -> None:
        ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
        ann.says(Call("ben"))
        world.happen("directory")
        ben.says(Quit())
        world.settle()
        assert [in_words(event) for event in ann.hears()] == ["no_such_user ben"]

    def test_a_caller_that_has_quit_meanwhile_leaves_the_callee_free(self, world: World) -> None:
        ann, ben = enter(world.place("n1"), "ann", program=False), enter(world.place("n2"), "ben")
        ann.says(Call("ben"))
        world.happen("directory")
        ann.session.name_lost()
        world.settle()
        assert ben.hears() == []
        assert ben.session.pairing.step is None


def test_a_caller_of_someone_who_crashes_is_free_again(world: World) -> None:
    ann = enter(world.place("n1"), "ann")
    enter(world.place("n2"), "ben")
    ann.says(Call("ben"))
    world.happen("directory")
    world.crash("n2")
    ann.session.node_lost("n2", 5.0)
    assert [in_words(event) for event in ann.hears()] == ["unavailable ben"]
    assert not ann.session.blocked
