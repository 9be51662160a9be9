"""Every key and channel name: their common parts, and what they never contain."""

from hypothesis import given
from hypothesis import strategies as st

from relay.redis_client.keys import PARTITIONS, Keys

names = st.text(min_size=1, max_size=32)


@given(names)
def test_a_name_never_reaches_the_key_space_raw(name: str) -> None:
    place = Keys("relay").place(name)
    assert place.key == f"relay:{{p{place.partition}}}"
    assert 0 <= place.partition < PARTITIONS
    assert len(place.field) == 32
    assert set(place.field) <= set("0123456789abcdef")


@given(names, names)
def test_a_name_has_one_place_and_another_name_another(one: str, other: str) -> None:
    keys = Keys("relay")
    assert keys.place(one) == keys.place(one)
    assert (keys.place(one).field == keys.place(other).field) is (one == other)


def test_the_place_of_a_name_is_the_same_for_all_versions() -> None:
    """Other nodes look for a name there, so a change would lose every name."""
    place = Keys("relay").place("alice")
    assert (place.partition, place.field) == (373, "69b5957599f918e276a3d2428acdc997")


def test_no_field_is_that_of_the_epoch() -> None:
    assert all(Keys("relay").place(str(n)).field != "@" for n in range(100))


def test_names_spread_over_the_partitions() -> None:
    keys = Keys("relay")
    hit = {keys.place(str(n)).partition for n in range(10 * PARTITIONS)}
    assert len(hit) > 0.99 * PARTITIONS


def test_a_place_s_key_is_that_of_its_partition() -> None:
    keys = Keys("relay")
    place = keys.place("alice")
    assert keys.partition(place.partition) == place.key


def test_relays_with_different_prefixes_share_nothing() -> None:
    def all_of(prefix: str) -> set[str]:
        keys = Keys(prefix)
        return {keys.everyone, keys.partition(1), keys.lease("u"), keys.inbox("u"), keys.place("alice").key}

    assert len(all_of("one")) == 5
    assert not all_of("one") & all_of("two")


def test_a_node_s_own_keys_bear_its_uid() -> None:
    keys = Keys("relay")
    assert keys.lease("uid7") == "relay:lease:uid7"
    assert keys.inbox("uid7") == "relay:inbox:uid7"
