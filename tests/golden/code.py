"""Where in the code each thing that others see is made. The rest of `tests/golden` knows no module of it.

Whoever moves or renames one of these changes this file, and nothing in `tests/fixtures/golden`.
"""

from collections.abc import Callable, Iterator, MutableMapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_args

import typer
from msgspec import Struct
from prometheus_client import Metric
from structlog.testing import capture_logs

import pairchat
import relay
from pairchat import errors as pairchat_errors
from pairchat.cli import app as pairchat_app
from pairchat.errors import PairchatError
from pairchat.wording import Exit, exit_status
from relay import logs
from relay.bus.reliable_link import Kind, pack, unpack
from relay.cli import FAILURE_STATUS, USAGE_STATUS
from relay.cli import app as relay_app
from relay.directory import record
from relay.metrics import Counts
from relay.names import parse
from relay.observe import status_report
from relay.observe.exporter import Reading, families
from relay.observe.probe_server import Page, Probes
from relay.observe.session_stats import Tally
from relay.options import VARIABLES
from relay.protocol import errors
from relay.protocol.commands_and_events import Event, Malformed, Refused
from relay.protocol.dialects import CLASSIC, JSON, TEXT, Dialect
from relay.protocol.json_frames import ClientFrame, NodeFrame, decode_client, decode_node, encode
from relay.redis_client.client import Script
from relay.redis_client.keys import Keys
from relay.session import peer_messages

ROOTS: Final = {"relay": Path(relay.__file__).parent, "pairchat": Path(pairchat.__file__).parent}
# These speak with their own processes only, in a language that no other release needs to know.
PRIVATE: Final = ("relay.tools.bench.",)

# --- what clients say and hear

CLIENT_FRAMES: Final[tuple[type[Struct], ...]] = get_args(ClientFrame)
NODE_FRAMES: Final[tuple[type[Struct], ...]] = get_args(NodeFrame)
write_frame: Final[Callable[[Any], bytes]] = encode
read_client_frame: Final[Callable[[bytes], Any]] = decode_client
read_node_frame: Final[Callable[[bytes], Any]] = decode_node

# What a session tells its client, whatever the dialect.
EVENTS: Final[tuple[type[Struct], ...]] = get_args(Event)
# Those that the dialects write; the JSON dialect comes first.
DIALECTS: Final[dict[str, Dialect]] = {"json": JSON, "text": TEXT, "classic": CLASSIC}
# What is said of each refusal, by its code.
REFUSALS: Final = {code.value: errors.MESSAGES[code] for code in errors.Code}


def render(dialect: str, event: Any) -> bytes:
    """The bytes that tell a client of an event."""
    return DIALECTS[dialect].render(event)


def refusal(code: str, message: str, name: str | None) -> Struct:
    """The event that tells a client of a refusal."""
    return Refused(errors.Code(code), message, name=name)


def refusal_of(dialect: str, line: bytes, *, named: bool) -> Struct | None:
    """The event that refuses this line of a client, if it can't be understood."""
    said = DIALECTS[dialect].parse(line, named)
    if not isinstance(said, Malformed):
        return None
    about = said.about
    return Refused(said.code, said.message, about.id, about.name, ref=about.ref)


def name(typed: str) -> tuple[str, str] | str:
    """A name as it is shown and as it is owned, or why it is none."""
    try:
        parsed = parse.parse(typed)
    except parse.InvalidName as error:
        return str(error)
    return parsed.display_name, parsed.canonical_name


# --- what nodes say to each other

MAIL: Final[tuple[type[Struct], ...]] = get_args(peer_messages.Mail)
FRAME_KINDS: Final = tuple(int(kind) for kind in Kind)


def write_mail(piece: Any) -> bytes:
    """A piece of mail as it stands in a frame."""
    return peer_messages.encode([piece])


def read_mail(data: bytes) -> Any:
    """What another node makes of it."""
    (piece,) = peer_messages.decode(data)
    return piece


def frame(kind: int, node_id: str, body: bytes) -> bytes:
    """A frame between nodes, of a stream and with an acknowledgement of another."""
    return pack(Kind(kind), node_id, b"streamed", 258, b"acknowle", 65537, body)


def frame_parts(raw: bytes) -> list[Any]:
    """What another node makes of it."""
    found = unpack(raw)
    return [int(found.kind), found.node_id, found.stream, found.number, found.ack_stream, found.ack, found.body]


# --- what stands in Redis

RECORD_BODY: Final[type[Struct]] = record.SessionRecord
REPORT: Final[type[Struct]] = status_report.Report
write_record: Final[Callable[[Any], bytes]] = record.encode
write_report: Final[Callable[[Any], bytes]] = status_report.encode
read_report: Final[Callable[[bytes], Any]] = status_report.decode


def read_record(raw: bytes) -> list[Any]:
    """A whole record: its fence, node, incarnation, session and body, and the version that a claim has to have seen."""
    found = record.decode(raw)
    return [found.fencing_token, found.node_id, found.incarnation, found.session_id, found.body, found.version]


def owner(node_id: str, incarnation: str, session: str) -> str:
    """How a record names its owner."""
    return record.owner(node_id, incarnation, session)


def keys(prefix: str) -> dict[str, str]:
    """Every key and channel, by what it is for."""
    made = Keys(prefix)
    place = made.place("alice")
    return {
        "channel of all nodes": made.everyone,
        "reports of nodes": made.nodes,
        "partition of alice": place.key,
        "field of alice": place.field,
        "partition 7": made.partition(7),
        "last node of a name": made.called("n1"),
        "lease of a node": made.lease("0123456789abcdef"),
        "channel of a node": made.inbox("0123456789abcdef"),
        "channel beside it": made.beside(made.inbox("0123456789abcdef")),
    }


# Attributes and methods of the keys that are shown above, and those that say where a name is rather than make a key.
KEYS_SHOWN: Final = {"everyone", "nodes", "place", "partition", "called", "lease", "inbox", "beside", "partition_of"}


def keys_made() -> set[str]:
    """What there is to make keys with."""
    made = Keys("relay")
    return {word for word in dir(made) if not word.startswith("_")}


def scripts() -> Iterator[tuple[str, bytes, str]]:
    """Each Lua script: its file's name, its text, and what Redis calls it by, with what is put before each."""
    folder = files("relay").joinpath("directory", "scripts")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".lua"):
            yield file.name, file.read_bytes(), Script(file.name.removesuffix(".lua")).sha


# --- what operators see


def metrics() -> list[Metric]:
    """All metrics of a node on which nothing has happened yet."""
    reading = Reading(
        node="n1",
        counts=Counts(),
        tally=Tally(),
        ready=True,
        redis=True,
        hearing=True,
        waiting=0,
        lease=True,
        lease_age=1.5,
        memory=0,
        publishing=True,
        links=0,
        silent=0,
        unwatched=False,
        writable=True,
    )
    return list(families(reading))


def log_line(event: dict[str, Any], *, as_json: bool) -> str:
    """An event as it stands in the log."""
    return logs.as_json(dict(event)) if as_json else logs.line(dict(event))


def log_spell() -> list[MutableMapping[str, Any]]:
    """What stands in the log of a trouble that came twice and is over."""
    with capture_logs() as told:
        trouble = logs.Spell("trouble", "well again")
        trouble.again(uid="u1")
        trouble.again(uid="u2")
        trouble.over(uid="u3")
    return told


def probe(request: bytes, why_not: str, but: str) -> bytes:
    """The answer to an HTTP request, but for the page with the metrics."""

    async def page(_accept: str) -> Page:
        raise AssertionError("not asked for")

    return Probes(lambda: why_not, page, lambda: but).at_once(request) or b""


# The names of what is logged with, and of what logs a trouble that comes again and again.
LOGGERS: Final = {"log", "_log"}
LOGGER_MAKERS: Final = {"always"}
SPELL: Final = ("Spell", "again", "over")
# Calls that look as if they logged something: they ask a server of Redis.
NOT_LOGGED: Final = {"client.info('replication')", "replica.info('replication')"}
# The module that writes both down, whose own calls name no event.
LOG_MODULE: Final = Path(logs.__file__)

# --- the commands

COMMANDS: Final[dict[str, typer.Typer]] = {"relay": relay_app, "pairchat": pairchat_app}
RELAY_VARIABLES: Final = frozenset(VARIABLES)
RELAY_STATUSES: Final = {"a mistake in the options": USAGE_STATUS, "anything else": FAILURE_STATUS}
PAIRCHAT_STATUSES: Final = tuple(int(status) for status in Exit)


def pairchat_refusal(code: str) -> int:
    """The exit status of `pairchat` after a refusal that ends it."""
    return int(exit_status(pairchat.Refused(code, "")))


# Its other failures, by what they are.
PAIRCHAT_FAILURES: Final[dict[str, PairchatError]] = {
    "the address can't be understood": pairchat_errors.BadServer("x"),
    "a setting can't be understood": pairchat_errors.BadSettings("x"),
    "no connection": pairchat_errors.ConnectionFailed("x"),
    "the connection is gone": pairchat_errors.ConnectionLost("x"),
    "the other side is no relay": pairchat_errors.NotARelay("x"),
    "a certificate is wanted": pairchat_errors.NotAdmitted("x"),
    "the name is lost": pairchat_errors.NameLost("x"),
    "a text has no acknowledgement": pairchat_errors.NotConfirmed("lost"),
}


def pairchat_failure(error: PairchatError) -> int:
    """The exit status of `pairchat` after an error that ends it."""
    return int(exit_status(error))


def failures_of_pairchat() -> set[type[PairchatError]]:
    """All that there are, refusals left out."""
    return set(_below(PairchatError)) - {pairchat.Refused}


def _below(kind: type[PairchatError]) -> Iterator[type[PairchatError]]:
    for one in kind.__subclasses__():
        if one.__module__ == kind.__module__:
            yield one
            yield from _below(one)
