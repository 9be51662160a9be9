"""The lines of clients while a node's lease is overdue."""

from collections.abc import Callable
from typing import cast

from relay.directory.directory import Lease
from relay.hub.lease_doubt_hold import HOLD_SECONDS, LeaseDoubtHold


class Overdue:
    """A lease that doesn't hold until it is `standing`. `failing` says that the last renewal failed."""

    def __init__(self) -> None:
        self.standing = self.failing = False
        self.hurried = 0

    def hurry(self) -> None:
        self.hurried += 1


class Node:
    """Records the calls. `ring` ends the time for which lines may wait."""

    def __init__(self) -> None:
        self.lease = Overdue()
        self.done: list[str] = []
        self._alarms: list[Callable[[], None]] = []
        self.standing = LeaseDoubtHold(
            cast(Lease, self.lease), self._call_later, lambda: self.done.append("hold"), lambda: self.done.append("go")
        )

    def _call_later(self, delay: float, then: Callable[[], None]) -> None:
        assert delay == HOLD_SECONDS
        self._alarms.append(then)

    def ring(self) -> None:
        self._alarms.pop()()


def test_a_lease_is_watched_once_it_was_had() -> None:
    node = Node()
    assert not node.standing.watching
    node.standing.stands()
    assert node.standing.watching
    assert not node.done


def test_lines_wait_for_the_directorys_word_while_the_lease_is_overdue() -> None:
    node = Node()
    node.standing.stands()
    node.standing.overdue()
    assert node.done == ["hold"]
    assert node.lease.hurried == 1
    assert not node.standing.watching  # it is known that the lease is lost
    node.lease.standing = True
    node.standing.stands()
    assert node.done == ["hold", "go"]
    assert node.standing.watching


def test_lines_go_on_in_the_end_without_the_directorys_word() -> None:
    node = Node()
    node.standing.stands()
    node.standing.overdue()
    node.ring()
    assert node.done == ["hold", "go"]
    assert not node.standing.watching
    node.standing.stands()
    assert node.done == ["hold", "go", "go"]  # messages for other nodes may go on, too
    assert node.standing.watching


def test_lines_wait_for_nothing_where_redis_is_known_to_be_away() -> None:
    node = Node()
    node.standing.stands()
    node.lease.failing = True
    node.standing.overdue()
    assert node.done == ["go"]
    assert not node.lease.hurried
    assert not node.standing.watching


def test_the_end_of_the_wait_means_nothing_once_the_lease_holds_again() -> None:
    node = Node()
    node.standing.stands()
    node.standing.overdue()
    node.lease.standing = True
    node.standing.stands()
    node.ring()
    assert node.done == ["hold", "go"]
    assert node.standing.watching
