"""A client protocol in the states in which tests begin, and literal lines."""

from pairchat import ClientProtocol, Refused, Request
from tests.cli.scripted import WELCOME

PAIRED = b'{"type":"paired","name":"bob","chat":"c1","acks":"client","resumed":false}\n'
PONG = b'{"type":"pong"}\n'


def joined(*, window: int = 256, window_bytes: int = 1_048_576) -> ClientProtocol:
    protocol = ClientProtocol()
    protocol.claim("alice")
    protocol.feed((WELCOME % ("alice", window, window_bytes, 30)).encode() + b"\n")
    protocol.data_to_send()
    return protocol


def chatting(*, window: int = 256, window_bytes: int = 1_048_576) -> ClientProtocol:
    protocol = joined(window=window, window_bytes=window_bytes)
    protocol.feed(PAIRED)
    return protocol


def error(code: str, rest: str = "") -> bytes:
    return f'{{"type":"error","code":"{code}","message":"no"{rest}}}\n'.encode()


def said(id: int, text: str, chat: str = "c1") -> bytes:
    return f'{{"type":"msg","id":{id},"text":"{text}","chat":"{chat}"}}\n'.encode()


def code(request: Request) -> str:
    """Return the code of the refusal."""
    assert isinstance(request.outcome, Refused)
    return request.outcome.code
