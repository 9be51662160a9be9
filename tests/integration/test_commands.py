"""The commands, arguments and frames that nodes and operators send to Redis, as Redis itself shows them.

They are the same as ever. `tests/golden` compares what the parts make, and this test what leaves the process. Numbers
that depend on the moment are left out, and so are the numbers of repetitions.
"""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from tests.golden import code
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.process import own_environment, wait_until
from tests.support.server import RedisServer

PREFIX = "relay"
LEASE = 5.0  # seconds; a busy machine loses no lease, and this test sees renewals
# Commands of the libraries that set a connection up.
ANYWAY = {"HELLO", "AUTH", "CLIENT", "PING", "ROLE", "INFO", "SELECT", "CONFIG"}
OURS = {"DEL", "HLEN", "ECHO"}  # commands of this test
# Frames that repeat others: their number depends on the moment.
MAIL, ACK, MISSING = 1, 2, 3
DONE = "that is all"

# Commands of every run.
SURE = {
    "EVALSHA claim.lua 1 relay:{pN} FIELD ID/1/ID [body] 0  5000000 604800000",
    "EVALSHA claim.lua 1 relay:{pN} FIELD ID/1/ID [body] FENCE  5000000 604800000",
    "EVALSHA claim.lua 1 relay:{pN} FIELD ID/1/ID [body] FENCE FENCE ID/1/ID 0 604800000",
    "EVALSHA find.lua 1 relay:{pN} FIELD 5000000 604800000",
    "EVALSHA found.lua 1 relay:{pN} 0 604800000",
    "EVALSHA found.lua 1 relay:{pN} 1 604800000",
    "EVALSHA look.lua 1 relay:lease:ID",
    "EVALSHA release.lua 1 relay:{pN} FIELD ID ID",
    "EVALSHA renew.lua 1 relay:lease:ID 1 5000 3600000",
    "EVALSHA save.lua 1 relay:{pN} FIELD ID 1 ID [body] FENCE 604800000",
    "EVALSHA take.lua 1 relay:lease:ID 1 5000 3600000",
    "HDEL relay:nodes ID",
    "HEXISTS relay:{pN} @",
    "HGET relay:{pN} FIELD",
    "HSCAN relay:nodes 0 COUNT 100",
    "HSET relay:nodes ID {report}",
    "PEXPIRE relay:lease:ID 3600000",
    "PEXPIRE relay:nodes 3600000",
    "PTTL relay:lease:ID",
    "PUBLISH relay:everyone frame: 5 with a number",
    "PUBLISH relay:everyone frame: 5 with no number",
    "PUBLISH relay:everyone frame: 7 with no number",
    "PUBLISH relay:everyone frame: 8 of ID",
    "PUBLISH relay:everyone frame: 9 of dave",
    "PUBLISH relay:inbox:ID frame: 4 with a number",
    "PUBLISH relay:inbox:ID frame: 4 with no number",
    "PUBLISH relay:inbox:ID frame: 6 with a number",
    "PUBLISH relay:inbox:ID mail: accept",
    "PUBLISH relay:inbox:ID mail: ack",
    "PUBLISH relay:inbox:ID mail: away",
    "PUBLISH relay:inbox:ID mail: decline",
    "PUBLISH relay:inbox:ID mail: gone",
    "PUBLISH relay:inbox:ID mail: invite",
    "PUBLISH relay:inbox:ID mail: knew",
    "PUBLISH relay:inbox:ID mail: moved",
    "PUBLISH relay:inbox:ID mail: ringing",
    "PUBLISH relay:inbox:ID mail: settle",
    "PUBLISH relay:inbox:ID mail: sync",
    "PUBLISH relay:inbox:ID mail: text",
    "PUBLISH relay:inbox:ID mail: typing",
    "SET relay:called:NAME ID GET PX 10000",
    "SUBSCRIBE relay:everyone",
    "SUBSCRIBE relay:inbox:ID",
}
# Commands of some runs, for example when peer messages and a return cross.
MAYBE = {
    "EVALSHA find.lua 1 relay:{pN} FIELD 0 604800000",
    "HSCAN relay:{pN} 0 COUNT 200",
    "PEXPIRE relay:{pN} 604800000",
    "PUBLISH relay:inbox:ID mail: deaf",
    "PUBLISH relay:inbox:ID mail: taken",
    "PUBLISH relay:inbox:ID mail: unknown",
}


class Monitor:
    """Records everything that the server is sent from now on."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.port), 10)
        self._lines = self._socket.makefile("rb")
        self._socket.sendall(b"MONITOR\r\n")
        assert self._lines.readline() == b"+OK\r\n"

    def commands(self) -> Iterator[list[bytes]]:
        """Return the commands so far, without those of scripts."""
        self._server.client().echo(DONE)
        for line in self._lines:
            where, _, said = line.decode("ascii").partition("] ")
            words = [_unquoted(word) for word in re.findall(r'"((?:[^"\\]|\\.)*)"', said)]
            if words[-1] == DONE.encode():
                break
            if not where.endswith("lua"):
                yield words

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def _unquoted(word: str) -> bytes:
    return word.encode("ascii").decode("unicode_escape").encode("latin-1")


@pytest.fixture
def monitor(own_redis: RedisServer) -> Iterator[Monitor]:
    monitor = Monitor(own_redis)
    yield monitor
    monitor.close()


def shapes(words: list[bytes], scripts: dict[str, str]) -> Iterator[str]:
    """Yield the form of each command, without its sender and time."""
    command, *arguments = [word.decode("latin-1") for word in words]
    if command in ANYWAY | OURS:
        return
    if command == "PUBLISH":
        yield from (f"PUBLISH {_plain(arguments[0])} {what}" for what in _frame(words[2]))
        return
    if command == "EVAL":
        return  # the first call; an EVALSHA follows, and tests/golden compares the content
    if command == "EVALSHA":
        arguments[0] = scripts[arguments[0]]
    yield " ".join([command, *map(_plain, arguments)])


def _frame(raw: bytes) -> Iterator[str]:
    kind, _, stream, number, _, _, body = code.frame_parts(raw)
    if kind == MAIL:
        yield from (f"mail: {piece[0]}" for piece in msgspec.msgpack.decode(body))
    elif kind not in (ACK, MISSING):
        what = f"of {_plain(body.decode())}" if body else f"with {'a' if number else 'no'} number"
        yield f"frame: {kind} {what}{' in a stream' if stream.strip(bytes(1)) else ''}"


def _plain(word: str) -> str:
    """Return a word without the parts that depend on the moment."""
    if word.startswith(("[", "{")):
        return "[body]" if word.startswith("[") else "{report}"
    word = re.sub(r"\b1[789]\d{14}\b", "FENCE", word)
    word = re.sub(r"\b[0-9a-f]{32}\b", "FIELD", word)
    word = re.sub(r"\b[0-9a-f]{16}\b", "ID", word)
    word = re.sub(r"\{p\d+\}", "{pN}", word)
    return re.sub(r":n\d+$", ":NAME", word)


def operate(server: RedisServer, *words: str) -> None:
    command = [sys.executable, "-m", "relay", *words, "--redis", server.url]
    subprocess.run(command, check=True, capture_output=True, env=own_environment(), timeout=60)


def play(guests: Guests, own_redis: RedisServer, start_node: StartNode) -> None:
    """Do everything that nodes do in normal operation, and have one partition lose its data."""
    one, two = (start_node(redis=own_redis.url, prefix=PREFIX, lease=LEASE, grace=20, drain=20) for _ in range(2))
    alice, bob = guests.json(one, "alice", acks=True), guests.json(two, "bob", acks=True, ask=True)
    for answer in ("decline", "accept"):
        alice.send("to", name="bob")
        alice.expect("ringing")
        chat = bob.expect("invited")["chat"]
        bob.send(answer)
        alice.expect("error" if answer == "decline" else "paired")
    bob.expect("paired")
    alice.send("typing")
    bob.expect("typing")
    alice.send("msg", id=1, text="hi")
    bob.expect("msg")
    bob.send("ack", id=1)
    alice.expect("ack")
    for node in (two, one):
        alice.reset()
        bob.expect("away")
        again = guests.json(node)
        again.name, again.token = alice.name, alice.token
        again.send("hello", name="alice", token=alice.token, acks=True, chat=chat, sent=1)
        again.expect("welcome", resumed=True)
        again.expect("paired", resumed=True)
        bob.expect("back")
        alice = again
    carol, dave = guests.text(one, "carol"), guests.text(two, "dave")
    carol.call("dave")
    dave.expect("* carol is chatting with you.")
    carol.send("bye")
    carol.finish()
    dave.expect_message("carol", "bye")
    dave.expect("Quit.")
    client = own_redis.client()
    key = code.keys(PREFIX)["partition of alice"]
    client.delete(key)
    assert bob.who("alice") == "busy"  # this finds that it is gone
    wait_until(lambda: client.hlen(key) >= 2, "alice's record is written again")
    operate(own_redis, "kick", "dave")
    dave.expect("* You have been disconnected by the operator.")
    alice.send("quit")
    alice.expect("bye")
    bob.expect("left")
    bob.send("quit")
    bob.expect("bye")
    operate(own_redis, "drain", two.name)
    one.terminate()
    assert one.wait() == 0


def test_redis_is_told_what_it_was_told_ever(
    guests: Guests, own_redis: RedisServer, start_node: StartNode, monitor: Monitor
) -> None:
    play(guests, own_redis, start_node)
    scripts = {sha: name for name, _, sha in code.scripts()}
    said = {shape for words in monitor.commands() for shape in shapes(words, scripts)}
    assert SURE - said == set(), "this is said no more"
    assert said - SURE - MAYBE == set(), "this is new"
