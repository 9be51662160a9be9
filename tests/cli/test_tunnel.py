"""The request to a proxy, without I/O, for any cut of its answer."""

import pytest

from pairchat.address import WebAddress
from pairchat.errors import ConnectionFailed
from pairchat.proxy import Proxy
from pairchat.tunnel import MOST, Tunnel

SERVER = WebAddress("höhe.example", 443, True)
PROXY = Proxy("proxy", 3128, secure=False)
NAMED = Proxy("proxy", 3128, secure=True, credentials="Basic YTpi")


def test_a_tunnel_asks_for_the_host_and_the_port() -> None:
    assert Tunnel(PROXY, SERVER).request == (
        b"CONNECT xn--hhe-sna.example:443 HTTP/1.1\r\nHost: xn--hhe-sna.example:443\r\n\r\n"
    )
    assert Tunnel(NAMED, WebAddress("::1", 80, False)).request == (
        b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",  # means nothing here
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Fine\r\n\r\n",
    ],
)
def test_a_tunnel_opens_however_the_answer_is_cut(answer: bytes) -> None:
    for cut in range(len(answer)):
        tunnel = Tunnel(PROXY, SERVER)
        tunnel.feed(answer[:cut]) if cut else None
        assert not tunnel.open
        tunnel.feed(answer[cut:])
        assert tunnel.open


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", r"the proxy wants a user name and a password \(407\)"),
        (
            b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM, Basic realm=x\r\n\r\n",
            r"the proxy wants a user name and a password \(407\)",
        ),
        (
            b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n",
            r"the proxy wants another proof than a user name and a password in the open \(407\)",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", r"the proxy refuses \(403 Forbidden\)"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\n", r"the proxy refuses \(502 Bad Gateway\)"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "it does not answer like an HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "it does not answer like an HTTP proxy"),
        (b"", "it closes the connection"),
        (b"HTTP/1.1 200", "it closes the connection"),
    ],
)
def test_a_refusal_is_told_in_words(answer: bytes, words: str) -> None:
    for cut in range(len(answer) + 1):
        if answer.endswith(b"more") and cut >= len(answer) - 4:
            continue  # the tunnel is open by then, and the rest is the server's
        tunnel = Tunnel(PROXY, SERVER)
        with pytest.raises(
            ConnectionFailed, match=f"can't connect to wss://höhe.example through the proxy http://proxy:3128: {words}"
        ):
            for piece in filter(None, (answer[:cut], answer[cut:])):
                tunnel.feed(piece)
            tunnel.feed(b"")


def test_a_user_name_that_is_refused_is_told_apart() -> None:
    with pytest.raises(ConnectionFailed, match=r"proxy https://proxy:3128: the proxy does not accept .* \(407\)"):
        Tunnel(NAMED, SERVER).feed(b"HTTP/1.1 407 No\r\n\r\n")


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_without_an_end_ends(piece: bytes) -> None:
    tunnel, fed = Tunnel(PROXY, SERVER), 0
    if piece.startswith(b"X"):
        tunnel.feed(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ConnectionFailed, match="it does not answer like an HTTP proxy"):
        while fed <= MOST + len(piece):
            fed += len(piece)
            tunnel.feed(piece)
