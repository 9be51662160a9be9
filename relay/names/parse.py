"""Parses user names: which are valid, which spellings are the same name, and which look too alike for two owners.

A name has three forms: the *display name* as its owner typed it, the *key* that names are compared by (RFC 8265
UsernameCaseMapped, NFC), and the *canonical name* that is owned, derived from what the name looks like (UTS #39). All
three are the same on every node, whatever its Python: see relay/names/tables.
"""

import re
from functools import cache, lru_cache
from typing import Any, cast

from msgspec import Struct
from precis_i18n import get_profile
from precis_i18n.profile import Profile

from relay.names.tables import normalize, repertoire, skeleton

MAX_LENGTH = 32  # code points of the key, so that a name fits on a line beside its message
# A longer spelling is refused unread. No valid name is lost: canonical decomposition, the longest way to spell a
# character, never takes more than four code points.
MAX_TYPED = 4 * MAX_LENGTH
# UTS #39, section 5.4, allows at most four nonspacing marks on a letter, and no mark twice in a row. A limit of three
# would exclude names in Burmese and pointed Hebrew; forty marks would cover the lines above and below.
MAX_MARKS = 4
FORBIDDEN = frozenset(":{}")  # `To:bob` is a command, `{` begins the JSON dialect, `{p1}` is a hash tag in Redis
RESERVED = frozenset({"quit"})  # keys, so that nobody can be called `QUIT` either; it is the text dialect's command
CACHED = 1024  # names, which take about half a megabyte

_ASCII_NAME = re.compile(r"[!-~]+")

EMPTY = "A name needs at least one character."
TOO_LONG = f"A name has at most {MAX_LENGTH} characters."
IS_RESERVED = "This word is a command and can't be a name."
BAD_CHARACTER = "A name is made of letters, digits and ASCII signs, without white space and without : { or }."
BAD_MARKS = f"A name begins with a letter, and a letter has at most {MAX_MARKS} accents, all different."
BAD_DIRECTION = "A name reads in one direction; from right to left it begins with a letter."
LOOK_ALIKE = "This name looks like one in plain ASCII letters; take one that can't be mistaken for it."


class InvalidName(ValueError):
    """The text isn't a valid name. The message is one line for the user, and quotes nothing of the text."""


class Name(Struct, frozen=True):
    """A valid name in its three forms."""

    display_name: str  # as typed; it has no character that moves a cursor, changes the text direction or is invisible
    key: str  # two names are the same if and only if their keys are equal
    # Names with the same `canonical_name` can have only one owner. An ASCII name's is its key, and no other name has
    # it.
    canonical_name: str


def parse(raw: str) -> Name:
    """Return the name for a spelling that has no white space around it.

    The time is bounded by the longest valid spelling, however long `raw` is. `parse(name.key)` has the same key and
    canonical name as `name`.

    Raises:
        InvalidName: `raw` is not a name.
    """
    if not raw:
        raise InvalidName(EMPTY)
    if len(raw) > MAX_TYPED:
        raise InvalidName(TOO_LONG)
    return _parse(raw)


@lru_cache(maxsize=CACHED)
def _parse(raw: str) -> Name:
    key = _ascii_key(raw) if raw.isascii() else _mapped_key(raw)
    if not FORBIDDEN.isdisjoint(key):
        raise InvalidName(BAD_CHARACTER)
    if key in RESERVED:
        raise InvalidName(IS_RESERVED)
    return Name(raw, key, key if key.isascii() else _owner(raw, key))


def _ascii_key(raw: str) -> str:
    """Return what `_mapped_key` would, without its tables, which most nodes never need."""
    if len(raw) > MAX_LENGTH:
        raise InvalidName(TOO_LONG)
    if not _ASCII_NAME.fullmatch(raw):
        raise InvalidName(BAD_CHARACTER)
    return raw.lower()


def _mapped_key(raw: str) -> str:
    """Return the key by RFC 8265. Raises InvalidName."""
    # This comes before the mapping, because a newer Python would map newer capitals to letters that all nodes know.
    if not all(char in repertoire() for char in raw):
        raise InvalidName(BAD_CHARACTER)
    try:
        mapped = _profile().apply_five_rules(raw)
        if len(mapped) > MAX_LENGTH:  # checked before `enforce`, which looks at each character and is costly
            raise InvalidName(TOO_LONG)
        key = _profile().enforce(mapped)
    except UnicodeEncodeError as error:
        reason = BAD_DIRECTION if error.reason.endswith("/bidi_rule") else BAD_CHARACTER
        raise InvalidName(reason) from None
    _check_marks(key)
    return key


@cache
def _profile() -> Profile:
    # precis-i18n accepts any object with these methods, but its annotations name only its own class.
    return get_profile("UsernameCaseMapped", unicodedata=cast(Any, repertoire()))


def _check_marks(key: str) -> None:
    """Raise InvalidName for marks without a letter, and for too many on one letter.

    Spacing marks (`Mc`) neither count nor reset the count.
    """
    if repertoire().category(key[0]) != "Lo":
        raise InvalidName(BAD_MARKS)
    heap = 0
    previous = ""
    for char in normalize("NFD", key):
        category = repertoire().category(char)
        if category == "Mn":
            heap += 1
        elif category != "Mc":
            heap = 0
        if heap > MAX_MARKS or (heap and char == previous):
            raise InvalidName(BAD_MARKS)
        previous = char


def _owner(raw: str, key: str) -> str:
    """Return the skeleton as canonical name. Raises InvalidName if it is ASCII, so that it equals no ASCII name.

    The spelling is checked too: `МАРТА` in Cyrillic capitals looks like ASCII, but its key `марта` doesn't. Two names
    that don't look like ASCII and are look-alikes only in capitals (`ГАН`, in Greek `ΓΑΗ`) can have two owners.
    """
    canonical_name = skeleton(key)
    if canonical_name.isascii() or skeleton(_profile().width_mapping_rule(raw)).isascii():
        raise InvalidName(LOOK_ALIKE)
    return canonical_name
