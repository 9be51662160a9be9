"""Valid names, spellings of one name, and look-alikes that can't have two owners."""

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Literal, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from precis_i18n import get_profile
from precis_i18n.profile import Profile

from relay.names import parse as names
from relay.names.parse import InvalidName, Name, parse
from relay.names.tables import repertoire, skeleton
from tests.support.examples import some
from tests.support.rows import each_row

Form = Literal["NFC", "NFD", "NFKC"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC")

# Each string has letters and marks of one script, so that random names are often valid.
WRITING = [
    "abcxyzABCXYZ0189-_.'",
    "aeiouAEIOUlm\u00df\u0130\u0131\u0141\u0301\u0308\u0323\u0307",
    "ａｂｙｚＡＢＹＺ０９ｶﾞｷﾟ",
    "αβγσςωΑΒΓΣΩ\u0301\u0313\u0345",
    "абвгмрстяАБВГМРСТЯ\u0306",
    "ابتثمحد\u064b\u0651\u0660\u0661\u200c",
    "אבגדהש\u05b0\u05bc\u05c1",
    "कखगनमर\u093c\u0940\u094d\u0902\u200d",
    "กขคนม\u0e34\u0e48",
    "한국\u1112\u1161\u11ab",
    "张三日本ガギ・",
]
likely = st.one_of([st.text(alphabet, min_size=1, max_size=40) for alphabet in WRITING])
anything = st.text(st.characters(), max_size=140)  # also unassigned characters and lone surrogates


def refusal(raw: str) -> str:
    with pytest.raises(InvalidName) as caught:
        parse(raw)
    return str(caught.value)


def everything() -> Iterator[str]:
    return map(chr, range(sys.maxunicode + 1))


# --- valid names


@each_row(
    ("typed", "key"),
    [
        ("alice", "alice"),
        ("Alice", "alice"),
        ("a", "a"),
        ("x" * 32, "x" * 32),
        ("O'Neil", "o'neil"),
        ("r2-d2_[away]", "r2-d2_[away]"),
        ("张三", "张三"),
        ("Ünal", "ünal"),
        ("U\u0308nal", "ünal"),
        ("Straße", "straße"),
        ("STRAẞE", "straße"),
        ("Ελένη", "ελένη"),
        ("ΟΔΥΣΣΕΎΣ", "οδυσσεύς"),
        ("ᾂδω", "ᾂδω"),
        ("алиса", "алиса"),
        ("Алиса", "алиса"),
        ("محمد", "محمد"),
        ("عَلِيّ", "عَلِيّ"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("Nguyễn", "nguyễn"),
        ("ज़ींदगी", "ज\u093cींदगी"),
        ("ශ්\u200dරී", "ශ්\u200dරී"),
        ("สมชาย", "สมชาย"),
        ("ผู้ใหญ่", "ผู้ใหญ่"),
        ("မြို့", "မြို့"),
        ("ខ្មែរ", "ខ្មែរ"),
        ("가나다", "가나다"),
        ("\u1100\u1161", "가"),
        ("日本・東", "日本・東"),
        ("ｶﾞ", "ガ"),
        ("ａｌｉｃｅ", "alice"),
        ("\u212aim", "kim"),
    ],
)
def test_a_name_of_any_script_is_compared_in_its_canonical_form_and_shown_as_typed(typed: str, key: str) -> None:
    name = parse(typed)

    assert (name.display_name, name.key) == (typed, key)


REFUSED = [
    ("", names.EMPTY),
    ("x" * 33, names.TOO_LONG),
    ("ж" * 33, names.TOO_LONG),
    ("x" * 10_000, names.TOO_LONG),
    (" " * 60_000, names.TOO_LONG),
    ("\u202e" * 60_000, names.TOO_LONG),  # it is refused for its length alone, unread
    ("\u0130" * 32, names.TOO_LONG),  # each is two code points in lower case
    ("a b", names.BAD_CHARACTER),
    ("a\tb", names.BAD_CHARACTER),
    ("alice\n", names.BAD_CHARACTER),
    ("a\u00a0b", names.BAD_CHARACTER),
    ("a\u3000b", names.BAD_CHARACTER),
    ("a\u2028b", names.BAD_CHARACTER),
    ("a\0b", names.BAD_CHARACTER),
    ("a\x1b[31m", names.BAD_CHARACTER),
    ("a\x7f", names.BAD_CHARACTER),
    ("ж\x85", names.BAD_CHARACTER),
    ("a{b}", names.BAD_CHARACTER),
    ("a:b", names.BAD_CHARACTER),
    ("to:bob", names.BAD_CHARACTER),
    ("{p1}", names.BAD_CHARACTER),
    ("ａ：ｂ", names.BAD_CHARACTER),
    ("ж｛", names.BAD_CHARACTER),
    ("ali\u200bce", names.BAD_CHARACTER),
    ("ali\u200cce", names.BAD_CHARACTER),
    ("ali\u200dce", names.BAD_CHARACTER),
    ("ali\u00adce", names.BAD_CHARACTER),
    ("\ufeffalice", names.BAD_CHARACTER),
    ("alice\ufe0f", names.BAD_CHARACTER),
    ("alice\u202e", names.BAD_CHARACTER),
    ("\u2066alice\u2069", names.BAD_CHARACTER),
    ("\ud800", names.BAD_CHARACTER),
    ("\ue000", names.BAD_CHARACTER),
    ("\ufffe", names.BAD_CHARACTER),
    ("\U000e0041", names.BAD_CHARACTER),
    ("\u0378", names.BAD_CHARACTER),  # unassigned
    ("\ua7cb", names.BAD_CHARACTER),  # assigned in Unicode 16; Python 3.14 maps it to an old character
    ("😀", names.BAD_CHARACTER),
    ("ﬁn", names.BAD_CHARACTER),
    ("𝒶lice", names.BAD_CHARACTER),
    ("=\u0338", names.BAD_CHARACTER),  # it composes to a symbol
    ("Ⅳ", names.BAD_CHARACTER),
    ("O’Neil", names.BAD_CHARACTER),
    ("\u0301a", names.BAD_MARKS),
    ("\u093eन", names.BAD_MARKS),
    ("a\u0301\u0301", names.BAD_MARKS),
    ("é\u0301", names.BAD_MARKS),  # the same mark twice, one of them in the letter
    ("a\u0300\u0301\u0302\u0303\u0304", names.BAD_MARKS),
    ("a" + "\u0300\u0301" * 20, names.TOO_LONG),
    ("z" + "\u0300\u0301" * 15, names.BAD_MARKS),
    ("न" + "\u0941\u0942\u093e\u0941\u0942\u0941", names.BAD_MARKS),  # a spacing mark doesn't end the count
    ("aقمر", names.BAD_DIRECTION),
    ("1قمر", names.BAD_DIRECTION),
    ("קמרa", names.BAD_DIRECTION),
    ("Quit", names.IS_RESERVED),
    ("QUIT", names.IS_RESERVED),
    ("ｑｕｉｔ", names.IS_RESERVED),
]


@each_row(("typed", "why"), REFUSED)
def test_an_invalid_name_is_refused_with_the_reason(typed: str, why: str) -> None:
    assert refusal(typed) == why


def test_the_longest_spelling_of_the_longest_name_is_read() -> None:
    spelled = unicodedata.normalize("NFD", "ᾂ" * names.MAX_LENGTH)

    assert len(spelled) == names.MAX_TYPED
    assert parse(spelled).key == "ᾂ" * names.MAX_LENGTH


@given(st.one_of(anything, likely))
def test_any_text_is_a_name_or_is_refused_in_one_line_that_repeats_nothing_of_it(raw: str) -> None:
    try:
        assert isinstance(parse(raw), Name)
    except InvalidName as error:
        reasons = {text for constant, text in vars(names).items() if constant.isupper() and isinstance(text, str)}
        assert str(error) in reasons and str(error).isprintable() and len(str(error)) < 100


# --- spellings of one name


@given(likely)
@example("\u0130stanbul")
@example("ΑΣ")
@example("ｶﾞ")
def test_the_key_of_a_name_is_a_name_with_the_same_key_and_owner(raw: str) -> None:
    try:
        name = parse(raw)
    except InvalidName:
        return

    again = parse(name.key)

    assert (again.key, again.canonical_name) == (name.key, name.canonical_name)
    assert 1 <= len(name.key) <= names.MAX_LENGTH


@given(likely, st.sampled_from(FORMS[:2]))
def test_canonically_equivalent_spellings_are_one_name(raw: str, form: Form) -> None:
    try:
        name = parse(raw)
    except InvalidName:
        return

    other = parse(unicodedata.normalize(form, raw))

    assert (other.key, other.canonical_name) == (name.key, name.canonical_name)


@given(st.text(st.characters(max_codepoint=0x7F), min_size=1, max_size=names.MAX_LENGTH))
def test_the_short_way_for_ascii_names_leads_to_the_same_key(raw: str) -> None:
    def outcome(rule: str) -> str:
        try:
            return str(getattr(names, rule)(raw))
        except InvalidName as error:
            return str(error)

    assert outcome("_ascii_key") == outcome("_mapped_key")


# --- owners of look-alikes


@each_row("typed", ["amy", "arny", "0il", "Oll", "m", "1", "alice", "ａｌｉｃｅ"])
def test_an_ascii_name_is_owned_by_its_key_alone(typed: str) -> None:
    assert parse(typed).canonical_name == parse(typed).key


@each_row(
    "typed",
    [
        "аdmin",  # a Cyrillic а
        "сору",  # all letters are Cyrillic
        "ѕсоре",
        "ΡΟΤΑ",  # the capitals look like ASCII, and the small letters don't
        "МАРТА",
        "ıspanak",  # a dotless i
        "\u0130brahim",  # in lower case an i with two dots, of which one is visible
        "і\u0307van",
        "ʻokina",
        "ƒred",
    ],
)
def test_a_name_that_looks_like_ascii_is_refused(typed: str) -> None:
    assert refusal(typed) == names.LOOK_ALIKE


@each_row(
    ("one", "other"),
    [
        ("mün", "rnün"),
        ("ünal", "üna1"),
        ("ёлка", "ëлкa"),  # with Latin ë and a
        ("\u01cfo\u0301", "\u012co\u0301"),  # caron, breve
        ("علی\u200cرضا", "علیرضا"),
        ("ü\u0268", "ü\u0268\u0307"),  # a dot hidden in a letter that looks like i
        ("力ü", "カü"),
    ],
)
def test_look_alikes_that_are_not_ascii_have_one_owner(one: str, other: str) -> None:
    assert parse(one).canonical_name == parse(other).canonical_name
    assert parse(one).key != parse(other).key


@pytest.mark.parametrize(
    ("one", "other"), [("ünal", "unal"), ("张三", "张二"), ("алиса", "алина"), ("í\u0323", "i\u0323")]
)
def test_names_that_do_not_look_alike_have_owners_of_their_own(one: str, other: str) -> None:
    assert parse(one).canonical_name != parse(other).canonical_name


@given(likely)
def test_the_owner_of_an_ascii_name_is_never_that_of_another(raw: str) -> None:
    try:
        name = parse(raw)
    except InvalidName:
        return

    assert name.canonical_name.isascii() == name.key.isascii()


@given(likely)
@example("i\u0307\u0307")
@example("\u06fd")
def test_a_skeleton_is_its_own_skeleton(raw: str) -> None:
    assert skeleton(skeleton(raw)) == skeleton(raw)


def test_a_visible_dot_is_not_dropped_from_a_skeleton() -> None:
    assert skeleton("i\u0307j\u0307") == "ij"
    assert skeleton("i\u0323\u0307") == "i\u0323"
    assert skeleton("i\u0301\u0307") == "i\u0301\u0307"
    assert skeleton("e\u0307") == "e\u0307"


# --- what may be shown


def test_no_name_can_hold_what_a_terminal_obeys_or_does_not_show() -> None:
    typed = [char for char in everything() if char in repertoire()]
    hidden = {char for char in typed if unicodedata.category(char)[0] not in "LMNPS"}

    # The two joiners change the shape of the letters around them. Between other letters they are refused (RFC 5892).
    assert hidden == {"\u200c", "\u200d"}
    assert not [char for char in typed if char.isspace()]


# --- the same on every node


def test_the_rules_are_those_of_rfc_8265_for_every_character() -> None:
    def outcome(profile: Profile, char: str) -> str | None:
        try:
            return profile.enforce(char)
        except UnicodeEncodeError:
            return None

    ours = get_profile("UsernameCaseMapped", unicodedata=cast(Any, repertoire()))
    pythons = get_profile("UsernameCaseMapped")
    known = [char for char in everything() if unicodedata.category(char) not in {"Cn", "Co", "Cs"}]
    different = [char for char in some(known) if outcome(ours, char) != outcome(pythons, char)]

    # A newer Python knows more characters, but has the same data for those that all know.
    assert [char for char in different if char in repertoire()] == []
    assert not different or unicodedata.unidata_version != repertoire().unidata_version


def test_all_that_is_taken_from_python_is_the_same_in_every_python() -> None:
    """The digest is of Python 3.11.

    `parse` depends on nothing else but the tables, so nodes may run different Pythons.
    """
    digest = hashlib.sha256()
    for char in everything():
        if char not in repertoire():
            continue
        digest.update(
            f"{char.lower()}{('αΣ' + char).lower()}{('Σ' + char + 'α').lower()}{(char + 'Σ').lower()}".encode()
        )
        digest.update(skeleton(char).encode())
        digest.update(bytes(unicodedata.combining(piece) for piece in char + skeleton(char)))
        for form in FORMS:
            digest.update(unicodedata.normalize(form, char).encode())

    assert digest.hexdigest() == "ff26e0248de123d6f8b6fe4bc90779caa1cfc9f81b6efc8e5acbbf5745142b90"


def test_ascii_names_need_no_tables() -> None:
    repertoire.cache_clear()

    parse("plain-ascii-name")

    assert repertoire.cache_info().currsize == 0


def test_a_table_says_which_unicode_it_is_of() -> None:
    text = files("relay.names.tables").joinpath("repertoire.txt").read_text(encoding="ascii")

    assert re.findall(r"^# Unicode (.+)$", text, re.MULTILINE) == [repertoire().unidata_version]
