"""Names of users: what is one, which spellings are the same one, and which look too much alike to have two owners.

A name has three forms. It is *shown* as its owner typed it, compared by its *key* (RFC 8265 UsernameCaseMapped, NFC),
and *owned* by what it looks like (UTS #39). All three are the same on every node, whatever its Python: see
relay/names/tables.
"""

import re
from functools import cache, lru_cache
from typing import Any, cast

from msgspec import Struct
from precis_i18n import get_profile
from precis_i18n.profile import Profile

from relay.names.tables import normalize, repertoire, skeleton

MAX_LENGTH = 32  # code points of the key: a name fits into a line beside its message
# A spelling is refused unread beyond this. Nothing valid is lost: canonical decomposition, the longest way to spell a
# character, never takes more than four code points.
MAX_TYPED = 4 * MAX_LENGTH
# UTS #39, section 5.4: no more than four nonspacing marks on a letter, no mark twice in a row. Three would cost Burmese
# and pointed Hebrew their names; forty are a column of ink over the lines of others.
MAX_MARKS = 4
FORBIDDEN = frozenset(":{}")  # `To:bob` is a command, `{` opens the JSON dialect, `{p1}` is a hash tag in Redis
RESERVED = frozenset({"quit"})  # the text dialect's command; by its key, so that nobody is called `QUIT` either
CACHED = 1024  # names; about half a megabyte

_ASCII_NAME = re.compile(r"[!-~]+")

EMPTY = "A name needs at least one character."
TOO_LONG = f"A name has at most {MAX_LENGTH} characters."
IS_RESERVED = "This word is a command and can't be a name."
BAD_CHARACTER = "A name is made of letters, digits and ASCII signs, without white space and without : { or }."
BAD_MARKS = f"A name begins with a letter, and a letter has at most {MAX_MARKS} accents, all different."
BAD_DIRECTION = "A name reads in one direction; from right to left it begins with a letter."
LOOK_ALIKE = "This name looks like one in plain ASCII letters; take one that can't be mistaken for it."


class InvalidName(ValueError):
    """Not a name. `str()` of it is one line to show to the user; it repeats nothing of what was typed."""


class Name(Struct, frozen=True):
    """A valid name in its three forms."""

    display_name: str  # as typed; holds nothing that moves a cursor, turns the direction of text or hides
    key: str  # two names are the same one if and only if their keys are equal
    # A name has one owner among all of the same `canonical_name`; that of an ASCII name is its key, and no other's.
    canonical_name: str


def parse(raw: str) -> Name:
    """The name that was typed, without white space around it.

    Takes time in proportion to the length of what can be a name, however long `raw` is. `parse(name.key)` has the key
    and the owner of `name`.

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
    """What `_mapped_key` would make of it, without its tables, which most nodes' users never need."""
    if len(raw) > MAX_LENGTH:
        raise InvalidName(TOO_LONG)
    if not _ASCII_NAME.fullmatch(raw):
        raise InvalidName(BAD_CHARACTER)
    return raw.lower()


def _mapped_key(raw: str) -> str:
    """The canonical form by RFC 8265."""
    # Before the mapping, not after it: a newer Python would map newer capitals to letters that all nodes know.
    if not all(char in repertoire() for char in raw):
        raise InvalidName(BAD_CHARACTER)
    try:
        mapped = _profile().apply_five_rules(raw)
        if len(mapped) > MAX_LENGTH:  # before the look at each character, the costly part
            raise InvalidName(TOO_LONG)
        key = _profile().enforce(mapped)
    except UnicodeEncodeError as error:
        reason = BAD_DIRECTION if error.reason.endswith("/bidi_rule") else BAD_CHARACTER
        raise InvalidName(reason) from None
    _check_marks(key)
    return key


@cache
def _profile() -> Profile:
    # precis-i18n calls anything with these methods `UnicodeData`, its annotations only its own class.
    return get_profile("UsernameCaseMapped", unicodedata=cast(Any, repertoire()))


def _check_marks(key: str) -> None:
    """Refuse marks without a letter, and heaps of them. Spacing marks (`Mc`) heap nothing, and end no heap."""
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
    """The skeleton, which is what keeps it apart from ASCII names: one that is all ASCII is refused.

    What is shown counts too: `МАРТА` in Cyrillic capitals looks like ASCII, its key `марта` does not. Two
    names that don't look like ASCII and are look-alikes in capitals only (`ГАН`, in Greek `ΓΑΗ`) stay two.
    """
    canonical_name = skeleton(key)
    if canonical_name.isascii() or skeleton(_profile().width_mapping_rule(raw)).isascii():
        raise InvalidName(LOOK_ALIKE)
    return canonical_name
