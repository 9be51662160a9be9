"""The commands about a connection and whom it leads to: PING, AUTH, HELLO, SELECT, CLIENT, INFO, ROLE."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from simulator.redis.commands import Commands
from simulator.redis.connection import Mode
from simulator.redis.pubsub import Kind
from simulator.redis.replies import NOTHING, OK, CommandError, Status, Text
from simulator.redis.words import SYNTAX, integer, small_integer

if TYPE_CHECKING:
    from simulator.redis.connection import ClientConnection

SESSIONS: Final = Commands()
SERVER_SESSIONS: Final = Commands()  # those that sentinels don't have

VERSION: Final = b"9.1.2"  # of Valkey

_PONG: Final = Status(b"PONG")
_WRONG_PASSWORD: Final = "WRONGPASS invalid username-password pair or user is disabled."
_ANONYMOUS_HELLO: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
    "option can be used to authenticate the client and select the RESP protocol version at the same time"
)
_NO_PASSWORD: Final = (
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration "
    "is correct?"
)


@SESSIONS.add("ping", -1, while_subscribed=True, loading=True)
def _ping(client: "ClientConnection", words: list[bytes]) -> object:
    if len(words) > 2:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    if client.subscribed and not client.resp3:
        return [b"pong", words[1] if len(words) == 2 else b""]
    return words[1] if len(words) == 2 else _PONG


@SERVER_SESSIONS.add("echo", 2, loading=True, stale=True)
def _echo(client: "ClientConnection", words: list[bytes]) -> object:
    return words[1]


@SESSIONS.add("auth", -2, in_scripts=False, loading=True, stale=True, before_login=True)
def _auth(client: "ClientConnection", words: list[bytes]) -> object:
    if len(words) > 3:
        raise CommandError(SYNTAX)
    user, password = (b"default", words[1]) if len(words) == 2 else (words[1], words[2])
    if len(words) == 2 and client.server.password is None:
        raise CommandError(_NO_PASSWORD)
    _log_in(client, user, password)
    return OK


def _log_in(client: "ClientConnection", user: bytes, password: bytes) -> None:
    known = client.server.password
    if user != b"default" or (known is not None and password != known):
        raise CommandError(_WRONG_PASSWORD)
    client.authenticated = True


@SESSIONS.add("hello", -1, in_scripts=False, loading=True, stale=True, before_login=True)
def _hello(client: "ClientConnection", words: list[bytes]) -> object:
    version = 3 if client.resp3 else 2
    if len(words) > 1:
        version = integer(words[1], "ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    login, name = _hello_options(words[2:])
    if login is not None:
        _log_in(client, *login)
    if not client.authenticated:
        raise CommandError(_ANONYMOUS_HELLO)
    client.name = client.name if name is None else _plain(name, "Client names")
    client.resp3 = version == 3
    return {b"server": b"valkey", b"version": VERSION, b"proto": version, b"id": client.number, **client.server.state()}


def _hello_options(words: list[bytes]) -> tuple[tuple[bytes, bytes] | None, bytes | None]:
    """Return the login and the name that HELLO sets."""
    login, name = None, None
    place = 0
    while place < len(words):
        option, left = words[place].upper(), len(words) - place - 1
        if option == b"AUTH" and left >= 2:
            login = (words[place + 1], words[place + 2])
            place += 3
        elif option == b"SETNAME" and left >= 1:
            name = words[place + 1]
            place += 2
        else:
            raise CommandError(b"ERR Syntax error in HELLO option '%b'" % words[place])
    return login, name


@SERVER_SESSIONS.add("select", 2, in_scripts=False, loading=True, stale=True)
def _select(client: "ClientConnection", words: list[bytes]) -> object:
    number = small_integer(words[1])
    if not 0 <= number < len(client.server.databases):
        raise CommandError("ERR DB index is out of range")
    client.select(number)
    return OK


@SERVER_SESSIONS.add("quit", -1, in_scripts=False, loading=True, stale=True, before_login=True, while_subscribed=True)
def _quit(client: "ClientConnection", words: list[bytes]) -> object:
    client.closing = True
    return OK


@SERVER_SESSIONS.add("reset", 1, in_scripts=False, loading=True, stale=True, before_login=True, while_subscribed=True)
def _reset(client: "ClientConnection", words: list[bytes]) -> object:
    client.reset()
    return Status(b"RESET")


@SERVER_SESSIONS.add("readonly", 1, loading=True, stale=True)
def _readonly(client: "ClientConnection", words: list[bytes]) -> object:
    client.reads_replica = True
    return OK


@SERVER_SESSIONS.add("readwrite", 1, loading=True, stale=True)
def _readwrite(client: "ClientConnection", words: list[bytes]) -> object:
    client.reads_replica = False
    return OK


@SESSIONS.add("info", -1, loading=True, stale=True)
def _info(client: "ClientConnection", words: list[bytes]) -> object:
    return Text(client.server.information(tuple(words[1:])))


@SESSIONS.add("role", 1, loading=True, stale=True)
def _role(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.role()


# --- CLIENT


@SESSIONS.add("client reply", 3, in_scripts=False, loading=True, stale=True)
def _client_reply(client: "ClientConnection", words: list[bytes]) -> object:
    match words[2].upper():
        case b"ON":
            client.mode = Mode.ON
            return OK
        case b"OFF":
            client.mode = Mode.OFF
            return NOTHING
        case b"SKIP":
            if client.mode is not Mode.OFF:
                client.mode = Mode.SKIP_NEXT
            return NOTHING
    raise CommandError(SYNTAX)


@SESSIONS.add("client id", 2, in_scripts=False, loading=True, stale=True)
def _client_id(client: "ClientConnection", words: list[bytes]) -> object:
    return client.number


@SESSIONS.add("client getname", 2, in_scripts=False, loading=True, stale=True)
def _client_getname(client: "ClientConnection", words: list[bytes]) -> object:
    return client.name or None


@SESSIONS.add("client setname", 3, in_scripts=False, loading=True, stale=True)
def _client_setname(client: "ClientConnection", words: list[bytes]) -> object:
    client.name = _plain(words[2], "Client names")
    return OK


@SESSIONS.add("client setinfo", 4, in_scripts=False, loading=True, stale=True)
def _client_setinfo(client: "ClientConnection", words: list[bytes]) -> object:
    if words[2].lower() not in (b"lib-name", b"lib-ver"):
        raise CommandError(b"ERR Unrecognized option '%b'" % words[2])
    _plain(words[3], words[2].decode())
    return OK


def _plain(word: bytes, what: str) -> bytes:
    if any(not 0x21 <= byte <= 0x7E for byte in word.split(b"\0")[0]):  # the server reads no farther than that
        raise CommandError(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return word


@SESSIONS.add("client no-evict", 3, in_scripts=False, loading=True, stale=True)
@SESSIONS.add("client no-touch", 3, in_scripts=False, loading=True, stale=True)
def _client_switch(client: "ClientConnection", words: list[bytes]) -> object:
    if words[2].upper() not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX)
    return OK


@SESSIONS.add("client kill", -3, in_scripts=False, loading=True, stale=True)
def _client_kill(client: "ClientConnection", words: list[bytes]) -> object:
    """End connections of a type, or one by its id. Other ways to name them are not modelled."""
    if len(words) != 4:
        raise CommandError("ERR No such client" if len(words) == 3 else SYNTAX)
    match words[2].upper():
        case b"TYPE":
            return client.server.end_connections(_type_of(words[3]), unless=client)
        case b"ID":
            number = integer(words[3], "ERR client-id should be greater than 0")
            return client.server.end_connections(lambda one: one.number == number, unless=client)
    raise CommandError(SYNTAX)


def _type_of(word: bytes) -> "Callable[[ClientConnection], bool]":
    match word.lower():
        case b"pubsub":
            return lambda one: one.subscribed
        case b"normal":
            return lambda one: not one.subscribed
        case b"master" | b"primary" | b"slave" | b"replica":
            return lambda one: False
    raise CommandError(b"ERR Unknown client type '%b'" % word)


@SESSIONS.add("client pause", -3, in_scripts=False, loading=True, stale=True)
def _client_pause(client: "ClientConnection", words: list[bytes]) -> object:
    milliseconds = integer(words[2], "ERR timeout is not an integer or out of range")
    if milliseconds < 0:
        raise CommandError("ERR timeout is negative")
    mode = words[3].upper() if len(words) > 3 else b"ALL"
    if mode not in (b"ALL", b"WRITE"):
        raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
    client.server.pause(milliseconds / 1000, writes_only=mode == b"WRITE")
    return OK


@SESSIONS.add("client unpause", 2, in_scripts=False, loading=True, stale=True)
def _client_unpause(client: "ClientConnection", words: list[bytes]) -> object:
    client.server.end_pause()
    return OK


@SESSIONS.add("client list", -2, in_scripts=False, loading=True, stale=True)
def _client_list(client: "ClientConnection", words: list[bytes]) -> object:
    return b"".join(map(_described, client.server.connections))


@SESSIONS.add("client info", 2, in_scripts=False, loading=True, stale=True)
def _client_info(client: "ClientConnection", words: list[bytes]) -> object:
    return _described(client)


def _described(client: "ClientConnection") -> bytes:
    """Return some of the fields of CLIENT LIST."""
    counts = [len(client.subscriptions[kind]) for kind in (Kind.CHANNEL, Kind.PATTERN, Kind.SHARD)]
    named = client.name.decode("latin-1")
    numbers = "sub={} psub={} ssub={}".format(*counts)
    resp = 3 if client.resp3 else 2
    return f"id={client.number} addr={client.address} name={named} {numbers} resp={resp}\n".encode("latin-1")
