"""The model is held to a real server: random sequences of the relay's commands, and of what is near them, get the same
replies from both, on several connections at once.

Every step is a pipeline on one of them. Lifetimes are long, or over already, so that the time that a test takes makes
no difference.
"""

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.redis_client.client import Script
from relay.redis_client.dialing import pack
from simulator.redis import Server
from tests.simulator.redis.sides import EXACT, Sides, alike
from tests.support.examples import EXAMPLES, USUAL, share
from tests.support.server import RedisServer

LINES = 3
# The same examples each time, unless a run has more than usual (`make fuzz`): it draws others.
DRAWN = settings(max_examples=max(share(150), EXAMPLES), derandomize=EXAMPLES <= USUAL)
Words: TypeAlias = tuple[str | bytes | int, ...]
Step: TypeAlias = tuple[int, list[Words]]

FAR = 4_000_000_000_000  # a time in milliseconds that no test lives to see
DAY = 86_400_000
# Fences above any clock: what the scripts make of them doesn't depend on the time.
FENCE = EXACT + 1_000
SETTLE = 10**12  # microseconds: no partition is that old

KEYS = st.sampled_from(["a", "b", "h", "{a}2", "", "a b\r\n"])
FIELDS = st.sampled_from(["f", "g", "@", "", "\n"])
VALUES = st.sampled_from(["", "1", "-5", "x" * 40, "\r\n", "3.5", "\x00\xff"])
CHANNELS = st.sampled_from(["c", "d", "cd", ""])
PATTERNS = st.sampled_from(["*", "c*", "[cd]", "[^c]", "c?", "\\c", "[a-c]", ""])
NUMBERS = st.sampled_from(["0", "1", "-1", "10", "x", "", "01", " 1", "9223372036854775807", "-9223372036854775808"])
# None is short: what a server drops when is another question.
LIFETIMES = NUMBERS.filter(lambda number: number not in ("1", "10")) | st.just("86400000")
# A server returns all of so few keys at once, but for one by one.
COUNTS = st.sampled_from(["0", "-1", "x", "100"])
TIMES = st.sampled_from([FAR, FAR + 10**9, FAR - 10**9, 1, 0, -1])


def said(*words: st.SearchStrategy[str] | st.SearchStrategy[int] | str | int) -> st.SearchStrategy[Words]:
    """A command with these words, some of them drawn."""
    return st.tuples(*(word if isinstance(word, st.SearchStrategy) else st.just(word) for word in words))


def within(words: st.SearchStrategy[Words], *more: str) -> st.SearchStrategy[Words]:
    """A command, and maybe some of these options behind it."""
    options = st.lists(st.sampled_from(more), max_size=3)
    return st.builds(lambda words, options: (*words, *options), words, options)


DATA = st.one_of(
    said("GET", KEYS),
    within(said("SET", KEYS, VALUES), "NX", "XX", "GET", "KEEPTTL", "FOO"),
    st.builds(lambda words, unit, when: (*words, unit, when), said("SET", KEYS, VALUES), st.just("PXAT"), TIMES),
    said("SET", KEYS, VALUES, "GET", "PX", DAY),
    said("SET", KEYS, VALUES, st.sampled_from(["EX", "PX", "EXAT", "PXAT"]), LIFETIMES),
    said("HGET", KEYS, FIELDS),
    said("HSET", KEYS, FIELDS, VALUES),
    said("HSET", KEYS, FIELDS, VALUES, FIELDS, VALUES),
    said("HSET", KEYS, FIELDS, VALUES, FIELDS),
    said("HDEL", KEYS, FIELDS, FIELDS),
    said("HEXISTS", KEYS, FIELDS),
    said("HLEN", KEYS),
    said("HSCAN", KEYS, NUMBERS, st.sampled_from(["COUNT", "MATCH", "FOO"]), NUMBERS),
    said("HSCAN", KEYS, 0, "COUNT", 100),
    said(st.sampled_from(["DEL", "UNLINK", "EXISTS"]), KEYS, KEYS),
    said(st.sampled_from(["PTTL", "TTL", "PEXPIRETIME", "EXPIRETIME", "PERSIST", "TYPE"]), KEYS),
    within(said("PEXPIREAT", KEYS, TIMES), "NX", "XX", "GT", "LT", "FOO"),
    said("PEXPIRE", KEYS, DAY),
    said(st.sampled_from(["PEXPIRE", "EXPIRE", "EXPIREAT", "PEXPIREAT"]), KEYS, LIFETIMES),
    said("DBSIZE"),
    said("SCAN", st.sampled_from(["0", "x", "-1", " 0"]), "MATCH", "nothing*", "COUNT", COUNTS),
    said("KEYS", st.sampled_from(["nothing*", "[", "h", "{a}?"])),
    said(st.sampled_from(["FLUSHALL", "FLUSHDB"]), st.sampled_from(["ASYNC", "SYNC", "FOO"])),
)
SUBSCRIPTIONS = st.one_of(
    said(st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE"]), CHANNELS, CHANNELS),
    said(st.sampled_from(["PSUBSCRIBE", "PUNSUBSCRIBE"]), PATTERNS),
    said(st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"])),
    said(st.sampled_from(["PUBLISH", "SPUBLISH"]), CHANNELS, VALUES),
    said("PUBSUB", st.sampled_from(["NUMSUB", "SHARDNUMSUB", "FOO"]), CHANNELS, CHANNELS),
    said("PUBSUB", st.sampled_from(["CHANNELS", "SHARDCHANNELS"]), st.sampled_from(["c", "nothing*"])),
    said("PUBSUB", "NUMPAT"),
)
SESSION = st.one_of(
    said("PING"),
    said("PING", VALUES, VALUES),
    said("ECHO", VALUES),
    said("SELECT", NUMBERS),
    said("HELLO", st.sampled_from(["2", "3", "3", "4", "x"])),
    said("HELLO", 2, st.sampled_from(["SETNAME", "AUTH", "FOO"]), VALUES),
    said("HELLO", 2, "AUTH", "default", VALUES, "SETNAME", "me"),
    said("AUTH", VALUES),
    said("AUTH", st.sampled_from(["default", "nobody"]), VALUES),
    said("CLIENT", "SETNAME", VALUES),
    said("CLIENT", st.sampled_from(["GETNAME", "FOO", "REPLY", "ID"]), st.just("more")),
    said("CLIENT", "GETNAME"),
    said("CLIENT", "SETINFO", st.sampled_from(["lib-name", "LIB-VER", "foo"]), VALUES),
    said("CLIENT", st.sampled_from(["NO-EVICT", "NO-TOUCH"]), st.sampled_from(["on", "OFF", "FOO"])),
    said("CLIENT", "REPLY", st.sampled_from(["SKIP", "ON", "FOO"])),
    said("CLIENT", "KILL", "TYPE", st.sampled_from(["pubsub", "replica", "foo"])),
    said("CLIENT", "PAUSE", st.sampled_from(["x", "-1", "0"])),
    said("CLIENT", "UNPAUSE"),
    said("RESET"),
    said("QUIT"),
    said("TIME"),
    said("ROLE"),
    said("ROLE", "x"),
    said("READONLY"),
    said("CONFIG", "GET", st.sampled_from(["maxmemory", "MAXMEMORY-pol*", "nothing*"])),
    said("CONFIG", "SET", "nothing", "x"),
    said(
        st.sampled_from(["GET", "FOO", "foo", "CLUSTER", "ASKING", "PUBSUB", "CLIENT", "SCRIPT", "TIME", ""]),
        VALUES,
        VALUES,
    ),
)
TEXTS = st.sampled_from(
    [
        "return 1",
        "return {1, 2.9, -3.9, 'a', {true, false, {}}, nil, 3}",
        "return {KEYS[1], KEYS[2] or 'none', ARGV[1] or 'none', #KEYS, #ARGV}",
        "return redis.call('GET', KEYS[1])",
        "return redis.call('HGETALL', KEYS[1])",
        "return redis.pcall('SET', KEYS[1], 1.5, 'GET')",
        "return redis.call('SET', KEYS[1], 2^53, 'PX', '86400000')",
        "redis.call('SET', KEYS[1], -0.1) return redis.call('GET', KEYS[1])",
        "return redis.call('HSET', KEYS[1], 'f', 1e20, 'g', 1e-7, '@', -0)",
        "local reply = redis.call('SET', KEYS[1], 'v') return {type(reply), reply.ok, reply}",
        "local reply = redis.pcall('HGET', KEYS[1], 'f') return type(reply) == 'table' and reply.err or reply",
        "local ok, why = pcall(redis.call, 'HGET', KEYS[1], 'f') return {ok, why}",
        "return tostring(redis.call('GET', KEYS[1]))",
        "return redis.call('PUBLISH', 'c', 'from a script')",
        "return redis.call('DEL', KEYS[1]) + redis.call('EXISTS', KEYS[1])",
        "return redis.call('PTTL', KEYS[1])",
        "return redis.error_reply('My error')",
        "return redis.error_reply('MY')",
        "return redis.error_reply('-MY error')",
        "return {err = 'My\\r\\nerror'}",
        "return redis.status_reply('fine')",
        "return {ok = 'fine'}",
        "return redis.sha1hex(KEYS[1] or '')",
        "return redis.sha1hex()",
        "return redis.call('NOTHING')",
        "return redis.call('GET')",
        "return redis.call()",
        "return redis.call('GET', {})",
        "return redis.call('GET', true)",
        "return redis.call('SUBSCRIBE', 'c')",
        "return redis.call('EVAL', 'return 1', 0)",
        "return redis.pcall('CLIENT', 'ID')",
        "return redis.pcall('CLIENT', 'NOTHING')",
        "error('mine')",
        "error({err = 'MINE table'})",
        "error({})",
        "return nothing",
        "nothing = 1",
        "return nil + 1",
        "return KEYS.x.y",
        "not lua",
        "return",
        "return 'a\\0b'",
        "return 1e300",
        "return -2^63",
        "return 2^62",
        "return 0/0",
        "return _G == nil",
        "return print",
        "return loadstring('return KEYS[1]')()",
        "return string.format('%.0f', redis.call('TIME')[1] * 1000000)",
        "return {string.match('7 n/1/s x', '^(%d+) (%S+)')}",
    ]
)
SCRIPTS = st.one_of(
    said("EVAL", TEXTS, 1, KEYS),
    said("EVAL", TEXTS, 2, KEYS, KEYS, VALUES),
    said("EVAL", TEXTS, 0, VALUES),
    said("EVAL", TEXTS, NUMBERS, KEYS),
    said(
        "EVALSHA",
        st.sampled_from(["e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "x"]),
        1,
        KEYS,
    ),
    said("SCRIPT", "LOAD", TEXTS),
    said("SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "x"),
    said("SCRIPT", "FLUSH", st.sampled_from(["ASYNC", "FOO"])),
)
SILENT = st.builds(lambda words: [("CLIENT", "REPLY", "OFF"), words, ("CLIENT", "REPLY", "ON")], DATA | SCRIPTS)
MIXED = st.lists(st.one_of(DATA, DATA, SUBSCRIPTIONS, SESSION, SCRIPTS), min_size=1, max_size=6)
PIPELINES = st.one_of(*[MIXED] * 9, SILENT)
STEPS = st.lists(st.tuples(st.integers(0, LINES - 1), PIPELINES), min_size=5, max_size=25)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that these tests have for themselves."""
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    yield server
    server.client().flushall()
    server.stop()


def compare(real: RedisServer, steps: list[Step]) -> None:
    """Take both through these steps, from nothing."""
    client = real.client()
    client.flushall()
    client.script_flush()
    model = Server(time.time, Random(1), port=real.port)
    model.run_id = client.info("server")["run_id"]
    client.close()
    sides = Sides([(real, model)] * LINES)
    try:
        for number, pipeline in steps:
            data = b"".join(pack(words) for words in pipeline)
            check(number, pipeline, *sides.step(number, data))
    finally:
        sides.close()


def check(number: int, sent: object, said: bytes, modelled: bytes) -> None:
    """Fail unless both have said the same."""
    assert alike(said, modelled), f"{number}: {sent}\n{said!r}\n{modelled!r}"


@given(STEPS)
@DRAWN
def test_the_commands_of_the_relay_and_those_near_them(real: RedisServer, steps: list[Step]) -> None:
    compare(real, steps)


EXPIRY = st.one_of(
    said("SET", st.sampled_from("ab"), "x"),
    within(said("PEXPIREAT", st.sampled_from("ab"), TIMES), "NX", "XX", "GT", "LT"),
    said(st.sampled_from(["PERSIST", "PEXPIRETIME", "EXPIRETIME"]), st.sampled_from("ab")),
)


@given(st.lists(DATA, min_size=40, max_size=60) | st.lists(EXPIRY, min_size=40, max_size=60))
@DRAWN
def test_many_commands_about_few_keys(real: RedisServer, commands: list[Words]) -> None:
    compare(real, [(0, commands)])


# --- what is no command

SCRAPS = st.sampled_from(
    [
        b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"*", b"1", b"\r\n", b"$", b"4", b"PING", b"-1", b"*0\r\n", b"*x\r\n",
        b"\r", b"\n", b" ", b'"', b"'", b"\0", b":1\r\n", b"+OK\r\n", b"ECHO ",
        b"*2\r\n$4\r\nECHO\r\n", b"$2\r\nab\r\n", b"$01\r\n", b"$+1\r\n", b"*2147483648\r\n", b"$536870913\r\n",
    ]
)  # fmt: skip


@given(st.lists(SCRAPS, min_size=1, max_size=12).map(b"".join))
@DRAWN
def test_scraps_of_the_protocol(real: RedisServer, data: bytes) -> None:
    sides = Sides([(real, Server(time.time, Random(1)))])
    try:
        check(0, data, *sides.last_words(0, data))
    finally:
        sides.close()


# --- the scripts of the directory, with what the directory says

FIELD = st.sampled_from(["f" * 32, "e" * 32])
OWNER = st.tuples(st.sampled_from(["n1", "n2"]), st.sampled_from(["1", "2"]), st.sampled_from(["s1", "s2"]))
BODY = st.sampled_from(['["a",30.0,null]', "[]", ""])
FENCES = st.integers(FENCE, FENCE + 5)
PARTITION = st.sampled_from(["relay:{p1}", "relay:{p2}"])
LEASE = st.sampled_from(["relay:lease:n1", "relay:lease:n2"])
TTL = 604_800_000
TAIL = 3_600_000
RECORDS = st.builds(lambda fence, owner, body: f"{fence} {'/'.join(owner)} {body}", FENCES, OWNER, BODY)
EPOCHS = st.sampled_from(["0", "0 elsewhere", "7", f"{FENCE} ", "nonsense", ""])
LEASES = st.sampled_from(["1", "1 ", "1 elsewhere", "1 elsewhere 5000", "2  5000", "nonsense", ""])
SEEN = st.one_of(st.just(""), st.builds(lambda fence, owner: f"{fence} {'/'.join(owner)}", FENCES, OWNER))


def script(
    name: str, key: st.SearchStrategy[str], *words: st.SearchStrategy[str] | st.SearchStrategy[int] | str | int
) -> st.SearchStrategy[Words]:
    """A call of a script of the directory, by its hash."""
    return said("EVALSHA", Script(name).sha, 1, key, *words)


CALLS = st.one_of(
    script("claim", PARTITION, FIELD, OWNER.map("/".join), BODY, FENCES, SEEN, st.sampled_from([0, SETTLE]), TTL),
    script("claim", PARTITION, FIELD, OWNER.map("/".join), BODY, 0, SEEN, st.sampled_from([0, SETTLE]), TTL),
    script("find", PARTITION, FIELD, st.sampled_from([0, SETTLE]), TTL),
    script("found", PARTITION, st.sampled_from([0, 1]), TTL),
    script("look", LEASE),
    script("release", PARTITION, FIELD, st.sampled_from(["n1", "n2"]), st.sampled_from(["s1", "s2"])),
    script("renew", LEASE, st.sampled_from([1, 2]), 5_000_000, TAIL),
    st.builds(
        lambda key, field, owner, body, fence: ("EVALSHA", Script("save").sha, 1, key, field, *owner, body, fence, TTL),
        PARTITION,
        FIELD,
        OWNER,
        BODY,
        FENCES,
    ),
    script("take", LEASE, st.sampled_from([1, 2]), 5_000_000, TAIL),
    said("HSET", PARTITION, FIELD, RECORDS),
    said("HSET", PARTITION, "@", EPOCHS),
    said("SET", LEASE, LEASES, "PX", st.sampled_from([TAIL, DAY])),
    said("PEXPIREAT", st.one_of(LEASE, PARTITION), st.sampled_from([1, FAR])),
    said("PEXPIRE", LEASE, TAIL),
    said("DEL", PARTITION),
    said("SET", PARTITION, "no hash"),
    said("HSET", LEASE, "no", "string"),
    said("HEXISTS", PARTITION, "@"),
    said("HGET", PARTITION, FIELD),
    said("HSCAN", PARTITION, 0, "COUNT", 200),
    said("PTTL", st.one_of(LEASE, PARTITION)),
)
LOADED: Step = (
    0,
    [
        ("SCRIPT", "LOAD", Script(name).text)
        for name in ("claim", "find", "found", "look", "release", "renew", "save", "take")
    ],
)


@given(st.lists(st.tuples(st.integers(0, LINES - 1), st.lists(CALLS, min_size=1, max_size=6)), max_size=25))
@DRAWN
def test_the_scripts_of_the_directory(real: RedisServer, steps: list[Step]) -> None:
    compare(real, [LOADED, *steps])


# --- servers in trouble

Trouble: TypeAlias = Callable[[Any, Server], None]
ORDINARY: list[Words] = [
    ("PING",),
    ("GET", "a"),
    ("SET", "a", "b"),
    ("HSET", "h", "f", "v"),
    ("HDEL", "h", "f"),
    ("PEXPIRE", "there", DAY),
    ("DEL", "there"),
    ("PUBLISH", "c", "x"),
    ("SPUBLISH", "c", "x"),
    ("INFO", "nothing"),
    ("CLIENT", "REPLY", "SKIP"),
    ("ECHO", "x"),
    ("TIME",),
    ("SELECT", 0),
    ("READONLY",),
    ("CONFIG", "GET", "maxmemory"),
    ("SCRIPT", "LOAD", "return 1"),
    ("SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
    ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0),
    ("EVAL", "return redis.call('GET', 'a')", 0),
    ("EVAL", "return redis.call('SET', 'a', 'b')", 0),
    ("EVAL", "return redis.pcall('SET', 'a', 'b').err or 'fine'", 0),
    ("EVAL", "redis.call('PEXPIRE', 'there', 1000) return redis.call('SET', 'a', 'b')", 0),
    ("EVAL", "return redis.pcall('INFO', 'nothing')", 0),
    ("EVAL", "return redis.pcall('PUBLISH', 'c', 'x')", 0),
    ("SCRIPT", "FLUSH"),
    ("FOO",),
    ("GET",),
    ("FLUSHALL",),
    ("HELLO", 3),
    ("SUBSCRIBE", "c"),
    ("SSUBSCRIBE", "c"),
    ("PING",),
    ("RESET",),
    ("AUTH", "wrong"),
    ("AUTH", "default", "wrong"),
    ("HELLO", 2, "AUTH", "default", "wrong"),
    ("HELLO", 2, "AUTH", "default", "secret"),
    ("QUIT",),
]


def without_memory(real: Any, model: Server) -> None:
    real.config_set("maxmemory", 1)
    model.configure({b"maxmemory": b"1"})


def without_primary(real: Any, model: Server) -> None:
    real.replicaof("127.0.0.1", "1")
    gone = Server(time.time, Random(2), port=1)
    gone.kill()
    model.replication.follow(gone)


def stale(real: Any, model: Server) -> None:
    without_primary(real, model)
    real.config_set("replica-serve-stale-data", "no")
    model.configure({b"replica-serve-stale-data": b"no"})


def without_rights(real: Any, model: Server) -> None:
    refused = ["info", "publish", "client|reply", "set", "select"]
    real.execute_command("ACL", "SETUSER", "default", *(f"-{name}" for name in refused))
    model.deny(*refused)


def with_password(real: Any, model: Server) -> None:
    real.config_set("requirepass", "secret")
    model.password = b"secret"


@pytest.mark.parametrize("trouble", [without_memory, without_primary, stale, without_rights, with_password])
def test_a_server_in_trouble_refuses_the_same(trouble: Trouble, own_redis: RedisServer) -> None:
    operator: Any = own_redis.client()
    operator.set("there", "x", px=DAY)
    model = Server(time.time, Random(1), port=own_redis.port)
    model.databases[0].put(b"there", b"x")
    trouble(operator, model)
    sides = Sides([(own_redis, model)])
    try:
        for words in ORDINARY:
            check(0, words, *sides.last_words(0, pack(words)))
        everything = b"".join(pack(words) for words in ORDINARY)
        check(0, "all at once", *sides.last_words(0, everything))
    finally:
        sides.close()
        own_redis.process.kill()  # it wouldn't let its keys be looked at
