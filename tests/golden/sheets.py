"""The texts of the files in `tests/fixtures/golden`, made from today's code."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from tests.golden import code, events, options
from tests.golden.samples import samples

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "golden"

UID: Final = "0123456789abcdef"
NAMES: Final = (
    *("alice", "Alice", "ＡＬＩＣＥ", "аlice", "張三", "Zoë", "Straße", "İstanbul", "I1l0O", "rn", "שלום", "مرحبا"),
    *("", "quit", "a b", "a:b", "{a}", "a\x07", "\u202ea", "e\u0301", "x" * 32, "x" * 33, "x" * 129, "aא", "👩‍👩‍👧"),
)
BAD_JSON: Final = (
    *(b"", b"[]", b"{", b"{}", b'{"type":5}', b'{"type":"nonsense"}', b'{"type":"ping"} x', b"\xff"),
    *(b'{"type":"hello"}', b'{"type":"hello","name":5,"ref":"r"}', b'{"type":"hello","v":2,"name":"bob"}'),
    *(b'{"type":"to","name":"bob","ref":7}', b'{"type":"hello","name":"bob"}', b'{"type":"to","name":1,"ref":7}'),
    *(b'{"type":"msg","id":0,"text":"a"}', b'{"type":"msg","id":1,"text":""}', b'{"type":"msg","id":3}'),
    *(b'{"type":"msg","id":1,"text":"\\ud800"}', b'{"type":"hello","v":1.5}'),
    *(b'{"type":"to","name":"bob","ref":"' + b"r" * 129 + b'"}', b'{"type":"to","name":"bob","ref":{}}'),
)
# The beginnings of sentences that msgspec makes, because their rest depends on its release.
LIBRARY: Final = "Expected|Object|Input|JSON"


def frames(kinds: Iterable[type[Struct]], read: Callable[[bytes], Any]) -> Iterator[str]:
    """Yield each frame of the JSON dialect. This also checks that each is read back unchanged."""
    for kind in sorted(kinds, key=_tag):
        for what, frame in samples(kind):
            line = code.write_frame(frame)
            assert read(line) == frame, line
            yield f"{_tag(kind)}, {what}: {line.decode()!r}"


def told() -> Iterator[str]:
    """Yield each event in each dialect, under the name of its frame."""
    for kind in sorted(code.EVENTS, key=_as_told):
        for what, event in samples(kind):
            for dialect in code.DIALECTS:
                yield f"{_as_told(kind)}, {what}, {dialect}: {code.render(dialect, event)!r}"


def _as_told(kind: type[Struct]) -> str:
    event = dict(samples(kind))["all"]
    return str(json.loads(code.render("json", event).partition(b"\n")[0])["type"])


def refusals() -> Iterator[str]:
    """Yield the sentence of each refusal in each dialect, with a name and without, and of malformed lines."""
    for word, message in sorted(code.REFUSALS.items()):
        for name in ("bob", None):
            event = code.refusal(word, message, name)
            for dialect in code.DIALECTS:
                yield f"{word}, {name}, {dialect}: {code.render(dialect, event)!r}"
    for dialect, lines in (("json", BAD_JSON), ("text", (b"\xff", b"")), ("classic", (b"\xff",))):
        for line in lines:
            for named in (False, True):
                said = code.refusal_of(dialect, line, named=named)
                answer = said and code.render(dialect, said)
                shown = re.sub(rf'"({LIBRARY})[^"]*"', '"…"', repr(answer))
                yield f"{dialect}, {'named' if named else 'nameless'}, {line[:60]!r}: {shown}"


def spellings() -> Iterator[str]:
    """Yield names with their owners, and the reasons for invalid names."""
    for typed in NAMES:
        yield f"{typed[:60]!a}: {code.name(typed)!a}"


def mail() -> Iterator[str]:
    """Yield each kind of peer message, as bytes and in readable form."""
    for kind in sorted(code.MAIL, key=_tag):
        for what, piece in samples(kind):
            raw = code.write_mail(piece)
            assert code.read_mail(raw) == piece, piece
            yield f"{_tag(kind)}, {what}: {raw.hex()}"
            yield f"    {msgspec.json.encode(msgspec.msgpack.decode(raw)).decode()}"


def bus() -> Iterator[str]:
    """Yield each kind of frame between nodes."""
    for kind in code.FRAME_KINDS:
        for body in (b"", b"body"):
            raw = code.frame(kind, UID, body)
            assert code.frame_parts(raw) == [kind, UID, b"streamed", 258, b"acknowle", 65537, body]
            yield f"kind {kind}, {len(body)} bytes: {raw.hex()}"


def redis() -> Iterator[str]:
    """Yield keys, channels, records, and the scripts that change them."""
    for what, key in code.keys("relay").items():
        yield f"{what}: {key}"
    for what, body in samples(code.RECORD_BODY):
        raw = code.write_record(body)
        whole = f"7 {code.owner(UID, '3', 'a1b2')} ".encode() + raw
        assert code.read_record(whole) == [7, UID, "3", "a1b2", body, f"7 {UID}/3/a1b2"]
        yield f"record, {what}: {whole.decode()}"
    for name, text, sha in code.scripts():
        yield f"{name}: sha256 {hashlib.sha256(text).hexdigest()}, for EVALSHA {sha}"


def status() -> Iterator[str]:
    """Yield a node's report."""
    for what, report in samples(code.REPORT):
        raw = code.write_report(report)
        assert code.read_report(raw) == report
        yield f"{what}: {raw.decode()}"


class _Page(Collector):
    def collect(self) -> Any:
        return iter(code.metrics())


def metrics() -> Iterator[str]:
    """Yield the metrics of a node on which nothing has happened, without those of this machine and version."""
    for line in generate_latest(_Page()).decode().splitlines():
        if line.startswith("relay_node_info{"):
            labels = [pair.partition("=")[0] for pair in line.partition("{")[2].split(",")]
            line = f"relay_node_info{{{','.join(labels)}}}"
        yield line


def log_lines() -> Iterator[str]:
    """Yield the line of an event in each format of the log."""
    event = {
        "timestamp": "2026-11-30T00:00:00Z",
        "level": "warning",
        "event": "node lost",
        "uid": UID,
        "seconds": 1.5,
        "error": 'it\'s "odd" = \x1b[31m\nword',
        "empty": "",
        "name": "wörd",
        "none": None,
    }
    for as_json in (False, True):
        yield code.log_line(event, as_json=as_json)
    yield from map(str, code.log_spell())


def probes() -> Iterator[str]:
    """Yield the HTTP answers for a balancer and for an operator."""
    for path in ("/healthz", "/readyz", "/readyz?x", "/", "/healthz/"):
        for method in ("GET", "HEAD", "POST"):
            for why_not, but in (("", ""), ("draining", ""), ("", "Redis is slow")):
                answer = code.probe(f"{method} {path} HTTP/1.1\r\n\r\n".encode(), why_not, but)
                yield f"{method} {path} ({why_not or but or 'well'}): {answer!r}"
    yield f"not HTTP: {code.probe(b'hello' + bytes((13, 10)) * 2, '', '')!r}"


def statuses() -> Iterator[str]:
    """Yield the exit statuses of the commands."""
    for what, number in code.RELAY_STATUSES.items():
        yield f"relay, {what}: {number}"
    yield f"pairchat, any: {' '.join(map(str, sorted(code.PAIRCHAT_STATUSES)))}"
    for word in sorted(code.REFUSALS):
        yield f"pairchat, refused as {word}: {code.pairchat_refusal(word)}"
    for what, error in code.PAIRCHAT_FAILURES.items():
        yield f"pairchat, {what}: {code.pairchat_failure(error)}"


def _tag(kind: type[Struct]) -> str:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str), f"{kind} has no name on the wire"
    return tag


SHEETS: Final[dict[str, Callable[[], Iterable[str]]]] = {
    "client-frames": lambda: frames(code.CLIENT_FRAMES, code.read_client_frame),
    "node-frames": lambda: frames(code.NODE_FRAMES, code.read_node_frame),
    "told": told,
    "refusals": refusals,
    "names": spellings,
    "mail": mail,
    "bus": bus,
    "redis": redis,
    "status": status,
    "metrics": metrics,
    "log-events": lambda: events.logged(code.ROOTS["relay"]),
    "log-lines": log_lines,
    "probes": probes,
    "relay-options": lambda: options.shown("relay"),
    "pairchat-options": lambda: options.shown("pairchat"),
    "exit-statuses": statuses,
}


def file(sheet: str) -> Path:
    """Return the file with the literal text of a sheet."""
    return FOLDER / f"{sheet}.txt"


def text(sheet: str) -> str:
    """Return the text of a sheet by today's code."""
    return "".join(f"{line}\n" for line in SHEETS[sheet]())
