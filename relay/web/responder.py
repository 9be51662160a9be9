"""Answers HTTP requests on a port for clients: the chat page, and the handshake of WebSocket."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from relay.web.answers import answer, refusal
from relay.web.forwarded import TrustedProxies
from relay.web.handshake import shake
from relay.web.head import Head
from relay.web.origins import OriginRules, own
from relay.web.page_files import POLICY, PageFile, made

SOCKET_PATH: Final = "/ws"
# Tells the page where it may connect: here, and at the nodes that were started with this one.
NODES_PATH: Final = "/nodes.json"
UPGRADED: Final = 101


class Reply(Struct, frozen=True):
    """An answer to a request. After one with the status 101 the connection speaks WebSocket."""

    status: int
    data: bytes


class HttpResponder:
    """The rules of a node for browsers. It has no connections.

    Args:
        rules: which pages may talk to the node.
        proxies: the proxies whose word counts.
        page: the files of the chat page, or None if it isn't served.
        secure: clients reach the node over TLS.
        siblings: the ports of the nodes that were started with this one, on the same host.
    """

    def __init__(
        self,
        rules: OriginRules,
        proxies: TrustedProxies,
        page: Mapping[str, PageFile] | None,
        *,
        secure: bool = False,
        siblings: Sequence[int] = (),
    ) -> None:
        self._rules = rules
        self.proxies = proxies
        self._page = page
        self._scheme = "https" if secure else "http"
        self._siblings = siblings

    def reply(self, head: Head, address: str, why_full: Callable[[], tuple[int, str] | None]) -> Reply:
        """Return the answer to a request that comes from this address.

        `why_full` is asked only for a handshake that is right. It returns a status and the reason why there is no room.
        """
        if self._rules.refuses_host(head.host):
            return _refuse(403, "This node isn't called by that name; see --origin.", head)
        if head.path == SOCKET_PATH:
            return self._socket(head, address, why_full)
        if self._page is None:
            return _refuse(404, "There is nothing here.", head)
        others = self._others(head, address)
        found = _nodes(others) if head.path == NODES_PATH else self._page.get(head.path)
        if found is None:
            return _refuse(404, "There is nothing here.", head)
        if head.method not in ("GET", "HEAD"):
            return _refuse(405, "This can only be read.", head, ("Allow", "GET, HEAD"))
        return _file(found, head, others)

    def _socket(self, head: Head, address: str, why_full: Callable[[], tuple[int, str] | None]) -> Reply:
        if head.method != "GET":
            return _refuse(405, "This address is for WebSocket clients.", head, ("Allow", "GET"))
        scheme = self.proxies.scheme(address, head.all("x-forwarded-proto"), self._scheme)
        if self._rules.refuses_origin(head.all("origin"), head.host, scheme):
            return _refuse(403, "This page may not talk to this node; see --origin.", head)
        status, data = shake(head)
        if status == UPGRADED and (full := why_full()) is not None:
            return _refuse(*full, head)
        return Reply(status, data)

    def _others(self, head: Head, address: str) -> list[str]:
        """Return the origins of WebSocket at the siblings, by the host as the client named it."""
        scheme = self.proxies.scheme(address, head.all("x-forwarded-proto"), self._scheme)
        called = own("wss" if scheme == "https" else "ws", head.host or "")
        return [str(called._replace(port=port)) for port in self._siblings] if called is not None else []


def _nodes(others: Sequence[str]) -> PageFile:
    """Return the list of addresses at which the page may connect. The first is this node."""
    return made(json.dumps({"nodes": [SOCKET_PATH, *(f"{other}{SOCKET_PATH}" for other in others)]}).encode(), "json")


def _file(found: PageFile, head: Head, others: Sequence[str]) -> Reply:
    headers = [
        ("ETag", found.etag),
        ("Cache-Control", "no-cache"),  # it may be kept, and is asked for again
        ("Content-Security-Policy", POLICY.format(connect=" ".join(["'self'", *others]))),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if _unchanged(found.etag, head):
        return Reply(304, answer(304, b"", headers, method=head.method))
    return Reply(200, answer(200, found.body, headers, method=head.method, kind=found.kind))


def _unchanged(etag: str, head: Head) -> bool:
    """Return whether the client has the file already, as it says in `If-None-Match`."""
    known = [word.strip().removeprefix("W/") for word in ",".join(head.all("if-none-match")).split(",")]
    return etag in known or known == ["*"]


def _refuse(status: int, reason: str, head: Head, *headers: tuple[str, str]) -> Reply:
    return Reply(status, refusal(status, reason, headers, method=head.method))
