"""The places in the code that make each thing that others see.



The rest of `tests/golden` knows no module of the code. If you move or rename one of these, change this file, and
nothing in `tests/fixtures/golden`.
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
from relay.configuration.options import VARIABLES
from relay.directory import record
from relay.metrics import Counts
from relay.names import parse
from relay.observe import status_report
from relay.observe.probe_server import Page, Probes
from relay.observe.prometheus_page import Reading, families
from relay.observe.session_stats import Tally
from relay.protocol import errors
from relay.protocol.commands_and_events import Event, Malformed, Refused
from relay.protocol.dialects import CLASSIC, JSON, TEXT, Dialect
from relay.protocol.json_frames import ClientFrame, NodeFrame, decode_client, decode_node, encode
from relay.redis_client.client import Script
from relay.redis_client.keys import Keys
from relay.session import peer_messages

ROOTS: Final = {"relay": Path(relay.__file__).parent, "pairchat": Path(pairchat.__file__).parent}
# These modules talk only with their own processes, so no other release needs to understand them.
PRIVATE: Final = ("relay.tools.bench.",)

# --- what clients send and receive

CLIENT_FRAMES: Final[tuple[type[Struct], ...]] = get_args(ClientFrame)
NODE_FRAMES: Final[tuple[type[Struct], ...]] = get_args(NodeFrame)
write_frame: Final[Callable[[Any], bytes]] = encode
read_client_frame: Final[Callable[[bytes], Any]] = decode_client
read_node_frame: Final[Callable[[bytes], Any]] = decode_node

# The events for a client, in all dialects.
EVENTS: Final[tuple[type[Struct], ...]] = get_args(Event)
# The objects of the dialects, with JSON first.
DIALECTS: Final[dict[str, Dialect]] = {"json": JSON, "text": TEXT, "classic": CLASSIC}
# The sentence of each refusal, by its code.
REFUSALS: Final = {code.value: errors.MESSAGES[code] for code in errors.Code}


def render(dialect: str, event: Any) -> bytes:
    """Return the bytes that tell a client of an event."""
    return DIALECTS[dialect].render(event)


def refusal(code: str, message: str, name: str | None) -> Struct:
    """Return the event that tells a client of a refusal."""
    return Refused(errors.Code(code), message, name=name)


def refusal_of(dialect: str, line: bytes, *, named: bool) -> Struct | None:
    """Return the event that refuses this line of a client, or None if it is understood."""
    said = DIALECTS[dialect].parse(line, named)
    if not isinstance(said, Malformed):
        return None
    about = said.about
    return Refused(said.code, said.message, about.id, about.name, ref=about.ref)


def name(typed: str) -> tuple[str, str] | str:
    """Return the forms of a name, or the reason why it is invalid."""
    try:
        parsed = parse.parse(typed)
    except parse.InvalidName as error:
        return str(error)
    return parsed.display_name, parsed.canonical_name


# --- what nodes send each other

MAIL: Final[tuple[type[Struct], ...]] = get_args(peer_messages.Mail)
FRAME_KINDS: Final = tuple(int(kind) for kind in Kind)


def write_mail(piece: Any) -> bytes:
    """Return a peer message as bytes of a frame."""
    return peer_messages.encode([piece])


def read_mail(data: bytes) -> Any:
    """Return the peer message that another node reads from these bytes."""
    (piece,) = peer_messages.decode(data)
    return piece


def frame(kind: int, node_id: str, body: bytes) -> bytes:
    """Return a frame between nodes, with its stream and an acknowledgement of another stream."""
    return pack(Kind(kind), node_id, b"streamed", 258, b"acknowle", 65537, body)


def frame_parts(raw: bytes) -> list[Any]:
    """Return the parts that another node reads from a frame."""
    found = unpack(raw)
    return [int(found.kind), found.node_id, found.stream, found.number, found.ack_stream, found.ack, found.body]


# --- what is in Redis

RECORD_BODY: Final[type[Struct]] = record.SessionRecord
REPORT: Final[type[Struct]] = status_report.Report
write_record: Final[Callable[[Any], bytes]] = record.encode
write_report: Final[Callable[[Any], bytes]] = status_report.encode
read_report: Final[Callable[[bytes], Any]] = status_report.decode


def read_record(raw: bytes) -> list[Any]:
    """Return a record's fencing token, node, incarnation, session, body, and the version for a claim."""
    found = record.decode(raw)
    return [found.fencing_token, found.node_id, found.incarnation, found.session_id, found.body, found.version]


def owner(node_id: str, incarnation: str, session: str) -> str:
    """Return the owner as a record names it."""
    return record.owner(node_id, incarnation, session)


def keys(prefix: str) -> dict[str, str]:
    """Return every key and channel, by its purpose."""
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


# Attributes and methods of the keys that are shown above, and those that tell the place of a name and make no key.
KEYS_SHOWN: Final = {"everyone", "nodes", "place", "partition", "called", "lease", "inbox", "beside", "partition_of"}


def keys_made() -> set[str]:
    """Return what makes keys, or is one."""
    made = Keys("relay")
    return {word for word in dir(made) if not word.startswith("_") and word != "partitions"}


def scripts() -> Iterator[tuple[str, bytes, str]]:
    """Yield the file name, the text and the hash of each Lua script, with the text that is put before each."""
    folder = files("relay").joinpath("directory", "scripts")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".lua"):
            yield file.name, file.read_bytes(), Script(file.name.removesuffix(".lua")).sha


# --- what operators see


def metrics() -> list[Metric]:
    """Return all metrics of a node on which nothing has happened yet."""
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
    """Return the line of an event in the log."""
    return logs.as_json(dict(event)) if as_json else logs.line(dict(event))


def log_spell() -> list[MutableMapping[str, Any]]:
    """Return the lines of a trouble that occurred twice and is over."""
    with capture_logs() as told:
        trouble = logs.Spell("trouble", "well again")
        trouble.again(uid="u1")
        trouble.again(uid="u2")
        trouble.over(uid="u3")
    return told


def probe(request: bytes, why_not: str, but: str) -> bytes:
    """Return the answer to an HTTP request, for all pages except the metrics."""

    async def page(_accept: str) -> Page:
        raise AssertionError("not asked for")

    return Probes(lambda: why_not, page, lambda: but).at_once(request) or b""


# The names of loggers, and of the class that logs a repeated trouble.
LOGGERS: Final = {"log", "_log"}
LOGGER_MAKERS: Final = {"always"}
SPELL: Final = ("Spell", "again", "over")
# Calls that look like logging and are commands of Redis.
NOT_LOGGED: Final = {"client.info('replication')", "replica.info('replication')"}
# The module that writes both to the log; its own calls name no event.
LOG_MODULE: Final = Path(logs.__file__)

# --- the commands

COMMANDS: Final[dict[str, typer.Typer]] = {"relay": relay_app, "pairchat": pairchat_app}
RELAY_VARIABLES: Final = frozenset(VARIABLES)
RELAY_STATUSES: Final = {"a mistake in the options": USAGE_STATUS, "anything else": FAILURE_STATUS}
PAIRCHAT_STATUSES: Final = tuple(int(status) for status in Exit)


def pairchat_refusal(code: str) -> int:
    """Return the exit status of `pairchat` after a refusal that ends it."""
    return int(exit_status(pairchat.Refused(code, "")))


# The other failures of `pairchat`, by name.
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
    """Return the exit status of `pairchat` after an error that ends it."""
    return int(exit_status(error))


def failures_of_pairchat() -> set[type[PairchatError]]:
    """Return all failures except refusals."""
    return set(_below(PairchatError)) - {pairchat.Refused}


def _below(kind: type[PairchatError]) -> Iterator[type[PairchatError]]:
    for one in kind.__subclasses__():
        if one.__module__ == kind.__module__:
            yield one
            yield from _below(one)
