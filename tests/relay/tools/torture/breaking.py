"""One history for each rule of the checker that breaks this rule and no other."""

from collections.abc import Callable
from typing import Final

from relay.tools.torture.checker import ANSWER_SECONDS
from relay.tools.torture.history import End, close, cut
from tests.relay.tools.torture.tale import Tale


def tale(happens: Callable[[Tale], None]) -> Tale:
    told = Tale()
    happens(told)
    return told


def lost(told: Tale) -> None:
    told.says(told.ann, "bob", "acked")


def doubled(told: Tale) -> None:
    said = told.says(told.ann, "bob", "acked")
    told.hears(told.bob, said)
    told.hears(told.bob, said)


def reordered(told: Tale) -> None:
    first, second = told.says(told.ann, "bob", "acked"), told.says(told.ann, "bob", "acked")
    told.hears(told.bob, second)
    told.hears(told.bob, first)


def misdelivered(told: Tale) -> None:
    said = told.says(told.ann, "bob", "acked")
    told.hears(told.owner("carol"), said)
    told.hears(told.bob, said)


def unreported(told: Tale) -> None:
    told.hears(told.bob, told.says(told.ann, "bob"))


def contradicted(told: Tale) -> None:
    told.hears(told.bob, told.says(told.ann, "bob", "acked", "lost"))


def two_owners(told: Tale) -> None:
    told.owner("bob", stranger=True)
    close(told.bob, End.NAME_LOST, 11.0)


def forgotten(told: Tale) -> None:
    cut(told.bob, 10.0)
    close(told.bob, End.FORGOTTEN, 11.0)


def unfounded(told: Tale) -> None:
    told.parts(told.ann, "bob", "lost")


def unasked(told: Tale) -> None:
    told.parts(told.ann, "bob", "left")
    told.parts(told.bob, "ann", "left")


def lopsided(told: Tale) -> None:
    told.believes(told.ann, "bob")
    told.believes(told.bob, "")


def late(told: Tale) -> None:
    told.comes(answered=10.0 + ANSWER_SECONDS + 2.1)


def odd(told: Tale) -> None:
    told.history.oddities.append("bob: was told nonsense")


def refusing(told: Tale) -> None:
    for _ in range(20):
        told.says(told.ann, "bob", "lost")


BREAKING: Final = {
    "lost": lost,
    "doubled": doubled,
    "reordered": reordered,
    "misdelivered": misdelivered,
    "unreported": unreported,
    "contradicted": contradicted,
    "two owners": two_owners,
    "forgotten": forgotten,
    "unfounded": unfounded,
    "unasked": unasked,
    "lopsided": lopsided,
    "late": late,
    "odd": odd,
    "refusing": refusing,
}
