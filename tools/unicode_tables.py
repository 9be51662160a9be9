"""Write the tables of relay/names/tables/ from Unicode's data. Run it again only to change to other Unicode data.

    python3.11 tools/unicode_tables.py path/to/confusables.txt

It takes the repertoire from the `unicodedata` of the oldest supported Python, the PRECIS classes from precis-i18n, and
the look-alikes from the confusables.txt of UTS #39 (https://www.unicode.org/Public/security/). All nodes of a cluster
must have the same tables, because another table changes which names are equal, and so who owns a name.
"""

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from precis_i18n.derived import CONTEXTJ, CONTEXTO, PVALID, derived_property
from precis_i18n.unicode import UnicodeData

TARGET = Path(__file__).parent.parent / "relay" / "names" / "tables"
REPERTOIRE_VERSION = "14.0.0"  # that of Python 3.11; newer Pythons map and normalise these characters the same way
JOINERS = (0x200C, 0x200D)
PRIVATE_USE = 0xF0000  # the first stand-in for prototypes outside the repertoire; it never has a decomposition or class

HEADER = """\
# {title}
# {version}
# Derived from data files of Unicode, Inc., and changed: see LICENSE in this directory.
# Written by tools/unicode_tables.py, do not edit. Each line:
# {fields}
"""

UCD = UnicodeData()


def lowered(char: str) -> str:
    """Return the character after RFC 8265's width and case mapping."""
    return str(UCD.width_map(char)).lower()


def typed_characters() -> list[int]:
    """Return the code points that a typed name can contain: those whose mapping consists of pieces of allowed ones."""
    allowed = {
        chr(cp) for cp in range(sys.maxunicode + 1) if derived_property(cp, UCD)[0] in (PVALID, CONTEXTJ, CONTEXTO)
    }
    pieces = {piece for char in allowed if lowered(char) == char for piece in unicodedata.normalize("NFD", char)}
    known = allowed | pieces
    return [
        cp
        for cp in range(sys.maxunicode + 1)
        if pieces.issuperset(unicodedata.normalize("NFD", lowered(chr(cp))))
        # This excludes the three signs (`=` with a stroke is one) that aren't allowed although their pieces are.
        and known.issuperset(unicodedata.normalize("NFC", lowered(chr(cp))))
    ]


def kind(cp: int) -> str:
    """Return `category bidi-class`. All characters except marks count as `Lo`, as no other category matters here."""
    category = unicodedata.category(chr(cp))
    return f"{category if category in ('Mn', 'Mc') else 'Lo'} {unicodedata.bidirectional(chr(cp))}"


def ranges(code_points: Iterable[int]) -> Iterator[str]:
    """Yield lines `first last category bidi-class`."""
    first = last = -1
    for cp in code_points:
        if cp == last + 1 and kind(cp) == kind(first):
            last = cp
            continue
        if first >= 0:
            yield f"{first:X} {last:X} {kind(first)}"
        first = last = cp
    yield f"{first:X} {last:X} {kind(first)}"


def read_confusables(path: Path) -> tuple[str, dict[int, str]]:
    """Return the version of the file and its mapping. Raises SystemExit if the file is incomplete."""
    text = path.read_text(encoding="utf-8-sig")
    version = re.search(r"^# Version: ([\d.]+)$", text, re.MULTILINE)
    total = re.search(r"^# total: (\d+)$", text, re.MULTILINE)
    rows = re.findall(r"^([0-9A-F]+) ;\t([0-9A-F ]+) ;\tMA\b", text, re.MULTILINE)
    if version is None or total is None or int(total[1]) != len(rows):
        raise SystemExit(f"{path} is no complete confusables.txt")
    return version[1], {int(source, 16): "".join(chr(int(x, 16)) for x in target.split()) for source, target in rows}


def prototype(text: str, confusables: dict[int, str]) -> str:
    """Map the text until it no longer changes, so that the skeleton of a skeleton is the skeleton itself."""
    mapped = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).translate(confusables))
    return mapped if mapped == text else prototype(mapped, confusables)


def reduced(confusables: dict[int, str], typed: Iterable[int]) -> dict[int, str]:
    """Return the prototypes of the characters in the input of skeletons, in characters that every Python knows."""
    pieces = {ord(piece) for cp in typed for piece in unicodedata.normalize("NFD", UCD.width_map(chr(cp)))}
    result = {cp: prototype(chr(cp), confusables) for cp in sorted(pieces & confusables.keys())}
    unknown = sorted({char for target in result.values() for char in target if unicodedata.category(char) == "Cn"})
    stand_in = {ord(char): PRIVATE_USE + number for number, char in enumerate(unknown)}
    joiners = dict.fromkeys(JOINERS, "")  # the only default-ignorable characters that a name can hold
    return {cp: target.translate(stand_in) for cp, target in result.items() if target != chr(cp)} | joiners


def rows(confusables: dict[int, str]) -> Iterator[str]:
    """Yield lines `prototype: sources`. An empty prototype means that the character is dropped."""
    sources: dict[str, list[int]] = {}
    for source, target in confusables.items():
        sources.setdefault(target, []).append(source)
    for target in sorted(sources):
        yield f"{spelled(map(ord, target))}: {spelled(sorted(sources[target]))}"


def spelled(code_points: Iterable[int]) -> str:
    """Return code points in hexadecimal, separated by spaces."""
    return " ".join(f"{cp:X}" for cp in code_points)


def write(name: str, header: dict[str, str], lines: Iterable[str]) -> None:
    """Replace one table."""
    (TARGET / name).write_text(HEADER.format(**header) + "\n".join(lines) + "\n", encoding="ascii")


def main() -> None:
    """Write both tables, from the file that the command line names."""
    parser = argparse.ArgumentParser(description="Write the tables of relay/names/tables/ from Unicode's data.")
    parser.add_argument("confusables", type=Path, help="confusables.txt of UTS #39")
    if unicodedata.unidata_version != REPERTOIRE_VERSION:
        raise SystemExit(
            f"needs a Python with Unicode {REPERTOIRE_VERSION}, this one has {unicodedata.unidata_version}"
        )
    version, confusables = read_confusables(parser.parse_args().confusables)
    typed = typed_characters()
    repertoire = {
        "title": "What a name can be typed with (PRECIS IdentifierClass and what maps to it)",
        "version": f"Unicode {REPERTOIRE_VERSION}",
        "fields": "first code point, last, general category (Mn, Mc, or Lo for all others), bidi class",
    }
    write("repertoire.txt", repertoire, ranges(typed))
    look_alikes = {
        "title": "Look-alikes (UTS #39) of the characters in repertoire.txt",
        "version": f"Unicode {version}",
        "fields": "prototype: the code points that look like it",
    }
    write("confusables.txt", look_alikes, rows(reduced(confusables, typed)))


if __name__ == "__main__":
    main()
