"""HTTP answers as bytes. Each of them ends its connection, so a client never waits for a second one."""

from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from relay.clock import clocks

# How long a client should wait that found no room, in seconds: some of the others will have gone by then.
RETRY_SECONDS = 5


def answer(
    status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), *, method: str = "GET", kind: str = "text/plain"
) -> bytes:
    """Return a whole answer. To HEAD it has no body, but tells its size."""
    known = HTTPStatus(status)
    lines = [f"HTTP/1.1 {status} {known.phrase}", f"Date: {formatdate(clocks.wall(), usegmt=True)}"]
    if status != HTTPStatus.NOT_MODIFIED:
        lines += [f"Content-Length: {len(body)}", f"Content-Type: {kind}; charset=utf-8"]
    lines += ["Connection: close", "X-Content-Type-Options: nosniff"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if method == "HEAD" or status == HTTPStatus.NOT_MODIFIED else head + body


def refusal(status: int, reason: str, headers: Iterable[tuple[str, str]] = (), *, method: str = "GET") -> bytes:
    """Return an answer that says in a line of text what is wrong."""
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers = [*headers, ("Retry-After", str(RETRY_SECONDS))]
    return answer(status, f"{reason}\n".encode(), [*headers, ("Cache-Control", "no-store")], method=method)
