"""Ann, a program of `relay torture`, in the states in which tests begin, and the bytes of both directions."""

from random import Random

from relay.protocol.errors import Code
from relay.tools.torture.history import History, Kind
from relay.tools.torture.json_client import JsonClient
from tests.relay.tools.torture.first import First

WELCOME = (
    b'{"type":"welcome","v":1,"name":"ann","token":"t1","resumed":false,"grace":8,"window":256,'
    b'"window_bytes":1048576,"ping":30,"node":"n1"}\n'
)
BACK = WELCOME.replace(b"false", b"true")
PAIRED = b'{"type":"paired","name":"bob","chat":"c1","acks":"client","resumed":false}\n'
HELLO = b'{"type":"hello","v":1,"name":"ann","acks":true}\n'
LEFT = b'{"type":"left","name":"bob","reason":"quit"}\n'


def fresh(kind: Kind = Kind.PROGRAM, rng: Random | None = None) -> tuple[JsonClient, History]:
    history = History()
    return JsonClient("ann", kind, history, rng or First(), ["ann", "bob", "carol"]), history


def welcomed(kind: Kind = Kind.PROGRAM, rng: Random | None = None) -> tuple[JsonClient, History]:
    ann, history = fresh(kind, rng)
    ann.opened(0)
    assert ann.feed(WELCOME, 1.0) == b""
    return ann, history


def paired(kind: Kind = Kind.PROGRAM) -> tuple[JsonClient, History]:
    ann, history = welcomed(kind)
    assert ann.feed(PAIRED, 2.0) == b""
    return ann, history


def msg(id: int, *, chat: str = "c1", sender: str = "bob") -> bytes:
    return f'{{"type":"msg","id":{id},"from":"{sender}","chat":"{chat}","text":"bob/1/{id} xx","at":1.5}}\n'.encode()


def ack(id: int, chat: str = "c1") -> bytes:
    return f'{{"type":"ack","id":{id},"chat":"{chat}"}}\n'.encode()


def unconfirmed(first: int, last: int, reason: str = "lost") -> bytes:
    return f'{{"type":"unconfirmed","from":{first},"to":{last},"reason":"{reason}"}}\n'.encode()


def error(code: Code, **more: object) -> bytes:
    extra = "".join(f',"{key}":{value}' for key, value in more.items())
    return f'{{"type":"error","code":"{code}","message":"m"{extra}}}\n'.encode()


def outcomes(history: History) -> list[list[str]]:
    return [said.outcomes for said in history.said.values()]


def said(*ids: int) -> bytes:
    return b"".join(f'{{"type":"msg","id":{id},"text":"ann/0/{id} ","chat":"c1"}}\n'.encode() for id in ids)
