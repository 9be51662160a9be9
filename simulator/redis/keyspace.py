"""The commands for strings, hashes, keys and their expiry."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from zlib import crc32

from simulator.redis.commands import Commands, all_keys, first_key
from simulator.redis.patterns import compiled
from simulator.redis.replies import OK, CommandError, Status
from simulator.redis.words import SYNTAX, cursor, deadline, integer

if TYPE_CHECKING:
    from simulator.redis.connection import ClientConnection
    from simulator.redis.database import Database, Hash

KEYSPACE: Final = Commands()

# How many milliseconds the unit of a SET option has, and whether its time counts from now.
_LIFETIMES: Final = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}
# A hash with more or longer words isn't small.
_SMALL_FIELDS: Final = 512
_SMALL_BYTES: Final = 64


# --- strings


@KEYSPACE.add("get", 2, keys=first_key)
def _get(client: "ClientConnection", words: list[bytes]) -> object:
    return client.database.string(words[1])


@KEYSPACE.add("set", -3, keys=first_key, write=True, grows=True)
def _set(client: "ClientConnection", words: list[bytes]) -> object:
    database, key = client.database, words[1]
    options, lifetime = _set_options(words)
    old = database.string(key) if b"GET" in options else None
    there = database.get(key) is not None
    refused = (b"NX" in options and there) or (b"XX" in options and not there)
    when = _set_deadline(lifetime, database.now)
    if not refused:
        kept = database.expires.get(key, -1) if b"KEEPTTL" in options else -1
        database.put(key, words[2])
        if when >= 0:
            _expire(database, key, when)
        elif kept >= 0:
            database.expire_at(key, kept)
    if b"GET" in options:
        return old
    return None if refused else OK


def _set_options(words: list[bytes]) -> tuple[set[bytes], tuple[bytes, bytes] | None]:
    """Return the options of SET, and how long the value lives: the option for that, and its number."""
    options, lifetime = set[bytes](), None
    place = 3
    while place < len(words):
        option = words[place].upper()
        place += 1
        if option in _LIFETIMES and place < len(words) and lifetime is None and b"KEEPTTL" not in options:
            lifetime = (option, words[place])
            place += 1
        elif option in (b"NX", b"XX", b"GET") or (option == b"KEEPTTL" and lifetime is None):
            options.add(option)
        else:
            raise CommandError(SYNTAX)
    if {b"NX", b"XX"} <= options:
        raise CommandError(SYNTAX)
    return options, lifetime


def _set_deadline(lifetime: tuple[bytes, bytes] | None, now: int) -> int:
    if lifetime is None:
        return -1
    unit, relative = _LIFETIMES[lifetime[0]]
    number = integer(lifetime[1])
    if number <= 0:
        raise CommandError("ERR invalid expire time in 'set' command")
    return deadline(number, unit, now if relative else 0, "set")


# --- hashes


@KEYSPACE.add("hget", 3, keys=first_key)
def _hget(client: "ClientConnection", words: list[bytes]) -> object:
    found = client.database.hash(words[1])
    return None if found is None else found.get(words[2])


@KEYSPACE.add("hset", -4, keys=first_key, write=True, grows=True)
def _hset(client: "ClientConnection", words: list[bytes]) -> object:
    if len(words) % 2:
        raise CommandError("ERR wrong number of arguments for 'hset' command")
    found = client.database.hash(words[1]) or {}
    new = len({field for field in words[2::2] if field not in found})
    client.database.put_fields(words[1], *words[2:])
    return new


@KEYSPACE.add("hdel", -3, keys=first_key, write=True)
def _hdel(client: "ClientConnection", words: list[bytes]) -> object:
    found = client.database.hash(words[1]) or {}
    gone = {field for field in words[2:] if field in found}
    if gone:
        client.database.delete_fields(words[1], *sorted(gone))
    return len(gone)


@KEYSPACE.add("hexists", 3, keys=first_key)
def _hexists(client: "ClientConnection", words: list[bytes]) -> object:
    return int(words[2] in (client.database.hash(words[1]) or {}))


@KEYSPACE.add("hlen", 2, keys=first_key)
def _hlen(client: "ClientConnection", words: list[bytes]) -> object:
    return len(client.database.hash(words[1]) or {})


@KEYSPACE.add("hgetall", 2, keys=first_key)
def _hgetall(client: "ClientConnection", words: list[bytes]) -> object:
    return dict(client.database.hash(words[1]) or {})


@KEYSPACE.add("hkeys", 2, keys=first_key)
def _hkeys(client: "ClientConnection", words: list[bytes]) -> object:
    return list(client.database.hash(words[1]) or {})


@KEYSPACE.add("hscan", -3, keys=first_key)
def _hscan(client: "ClientConnection", words: list[bytes]) -> object:
    """Return some fields, or all of a small hash. A real server may return a field twice."""
    place = cursor(words[2])
    found = client.database.hash(words[1])
    if found is None:
        return [b"0", []]
    count, pattern = _scan_options(words[3:])
    if _is_small(found):
        after, fields = b"0", [field for field in found if compiled(pattern).fullmatch(field)]
    else:
        after, fields = _page(found, place, count, pattern)
    return [after, [word for field in fields for word in (field, found[field])]]


def _is_small(value: "Hash") -> bool:
    """Return whether a server keeps a hash as a list, which it doesn't return in parts."""
    short = (len(word) <= _SMALL_BYTES for pair in value.items() for word in pair)
    return len(value) <= _SMALL_FIELDS and all(short)


# --- all types


@KEYSPACE.add("del", -2, keys=all_keys, write=True)
@KEYSPACE.add("unlink", -2, keys=all_keys, write=True)
def _del(client: "ClientConnection", words: list[bytes]) -> object:
    there = [key for key in dict.fromkeys(words[1:]) if client.database.get(key) is not None]
    for key in there:
        client.database.delete(key)
    return len(there)


@KEYSPACE.add("exists", -2, keys=all_keys)
def _exists(client: "ClientConnection", words: list[bytes]) -> object:
    return sum(client.database.get(key) is not None for key in words[1:])


@KEYSPACE.add("type", 2, keys=first_key)
def _type(client: "ClientConnection", words: list[bytes]) -> object:
    return Status(_type_of(client.database, words[1]))


def _type_of(database: "Database", key: bytes) -> bytes:
    value = database.get(key)
    return b"none" if value is None else b"string" if isinstance(value, bytes) else b"hash"


@KEYSPACE.add("keys", 2)
def _keys(client: "ClientConnection", words: list[bytes]) -> object:
    pattern = compiled(words[1])
    return [key for key in client.database.names() if pattern.fullmatch(key)]


@KEYSPACE.add("scan", -2)
def _scan(client: "ClientConnection", words: list[bytes]) -> object:
    place = cursor(words[1])
    options = words[2:]
    kind = None
    for number in range(0, len(options) - 1, 2):
        if options[number].upper() == b"TYPE":
            kind = options[number + 1].lower()
            options = options[:number] + options[number + 2 :]
            break
    count, pattern = _scan_options(options)
    after, keys = _page(list(client.database.names()), place, count, pattern)
    return [after, [key for key in keys if kind is None or _type_of(client.database, key) == kind]]


def _scan_options(options: list[bytes]) -> tuple[int, bytes]:
    """Return the count and the pattern of a SCAN."""
    count, pattern = 10, b"*"
    if len(options) % 2:
        raise CommandError(SYNTAX)
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option.upper() == b"COUNT":
            count = integer(value)
            if count < 1:
                raise CommandError(SYNTAX)
        elif option.upper() == b"MATCH":
            pattern = value
        else:
            raise CommandError(SYNTAX)
    return count, pattern


def _page(names: Iterable[bytes], place: int, count: int, pattern: bytes) -> tuple[bytes, list[bytes]]:
    """Return the cursor for the next page, and the names of this one that match.

    A cursor is a checksum, by which all names are sorted: what is deleted or added meanwhile moves none of the others.
    """
    left = sorted((sum, name) for name in names if (sum := crc32(name)) >= place)
    end = count
    while end < len(left) and left[end][0] == left[end - 1][0]:
        end += 1
    matching = compiled(pattern)
    after = left[end][0] if end < len(left) else 0
    return b"%d" % after, [name for _, name in left[:end] if matching.fullmatch(name)]


@KEYSPACE.add("dbsize", 1)
def _dbsize(client: "ClientConnection", words: list[bytes]) -> object:
    return sum(1 for _ in client.database.names())


@KEYSPACE.add("flushdb", -1, write=True)
@KEYSPACE.add("flushall", -1, write=True)
def _flush(client: "ClientConnection", words: list[bytes]) -> object:
    if len(words) > 2 or (len(words) == 2 and words[1].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandError(SYNTAX)
    databases = client.server.databases if words[0].lower() == b"flushall" else [client.database]
    for database in databases:
        database.flush()
    return OK


# --- expiry


@KEYSPACE.add("pttl", 2, keys=first_key)
def _pttl(client: "ClientConnection", words: list[bytes]) -> object:
    return _left(client, words[1])


@KEYSPACE.add("ttl", 2, keys=first_key)
def _ttl(client: "ClientConnection", words: list[bytes]) -> object:
    left = _left(client, words[1])
    return left if left < 0 else (left + 500) // 1000


@KEYSPACE.add("pexpiretime", 2, keys=first_key)
def _pexpiretime(client: "ClientConnection", words: list[bytes]) -> object:
    return _when(client, words[1])


@KEYSPACE.add("expiretime", 2, keys=first_key)
def _expiretime(client: "ClientConnection", words: list[bytes]) -> object:
    when = _when(client, words[1])
    return when if when < 0 else (when + 500) // 1000


def _when(client: "ClientConnection", key: bytes) -> int:
    """Return when a key expires; -1 for never, and -2 if there is none."""
    return -2 if client.database.get(key) is None else client.database.expires.get(key, -1)


def _left(client: "ClientConnection", key: bytes) -> int:
    when = _when(client, key)
    return when if when < 0 else max(0, when - client.database.now)


@KEYSPACE.add("persist", 2, keys=first_key, write=True)
def _persist(client: "ClientConnection", words: list[bytes]) -> object:
    if _when(client, words[1]) < 0:
        return 0
    client.database.expire_at(words[1], -1)
    return 1


@KEYSPACE.add("pexpire", -3, keys=first_key, write=True)
def _pexpire(client: "ClientConnection", words: list[bytes]) -> object:
    return _expire_command(client, words, "pexpire", 1, client.database.now)


@KEYSPACE.add("expire", -3, keys=first_key, write=True)
def _expire_seconds(client: "ClientConnection", words: list[bytes]) -> object:
    return _expire_command(client, words, "expire", 1000, client.database.now)


@KEYSPACE.add("pexpireat", -3, keys=first_key, write=True)
def _pexpireat(client: "ClientConnection", words: list[bytes]) -> object:
    return _expire_command(client, words, "pexpireat", 1, 0)


@KEYSPACE.add("expireat", -3, keys=first_key, write=True)
def _expireat(client: "ClientConnection", words: list[bytes]) -> object:
    return _expire_command(client, words, "expireat", 1000, 0)


def _expire_command(client: "ClientConnection", words: list[bytes], name: str, unit: int, since: int) -> int:
    database, key = client.database, words[1]
    options = _expire_options(words[3:])
    when = deadline(integer(words[2]), unit, since, name)
    now = _when(client, key)
    if now == -2 or not _wanted(options, now, when):
        return 0
    _expire(database, key, when)
    return 1


def _expire_options(words: list[bytes]) -> set[bytes]:
    options = {word.upper() for word in words}
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(b"ERR Unsupported option " + word)
    if b"NX" in options and len(options) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= options:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return options


def _wanted(options: set[bytes], now: int, when: int) -> bool:
    """Return whether these options let a time of expiry replace another one, which is -1 for never."""
    if b"NX" in options:
        return now < 0
    if b"XX" in options and now < 0:
        return False
    if b"GT" in options:
        return 0 <= now < when
    return b"LT" not in options or now < 0 or when < now


def _expire(database: "Database", key: bytes, when: int) -> None:
    """Let a key expire. One whose time is over is deleted at once."""
    if when <= database.now and not database.obeys:
        database.delete(key)
    else:
        database.expire_at(key, when)
