"""The map of a cluster's slots to its servers, made from the answers of its members. No I/O.

Members may differ, as one that is cut off from the others still reports its old view. Each claim to a slot has the
config epoch under which its primary got the slot, and the highest epoch wins. The members themselves decide in this
way between two claims, so a decision of the majority wins against any number of members that missed it.
"""

import re
from binascii import crc_hqx
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

SLOTS: Final = 16_384  # Redis Cluster's own number

_REDIRECTION: Final = re.compile(r"(?P<kind>MOVED|ASK) (?P<slot>\d{1,5}) (?P<host>\S*):(?P<port>\d{1,5})$")


def slot_of(name: bytes) -> int:
    """Return the slot of a key or channel: of the part between the first `{` and the next `}`, unless it is empty."""
    _, brace, tail = name.partition(b"{")
    tag, end, _ = tail.partition(b"}")
    return crc_hqx(tag if brace and end and tag else name, 0) % SLOTS


class Redirection(Struct, frozen=True):
    """A server's reply that another server serves a slot."""

    slot: int
    home: str
    asking: bool  # True for ASK: it holds for one command only, as the slot is moving there


def redirection(refusal: str, asked: str) -> Redirection | None:
    """Parse a redirection. Return None if the refusal isn't one, or doesn't name a usable server.

    `asked` is the address of the server that refused. Its host is used if the redirection has none.
    """
    found = _REDIRECTION.match(refusal)
    if found is None or int(found["slot"]) >= SLOTS or found["host"] == "?":
        return None
    host = found["host"] or address(asked)[0]
    return Redirection(int(found["slot"]), f"{host}:{found['port']}", found["kind"] == "ASK")


def address(home: str) -> tuple[str, int]:
    """Split `host:port` into the host and the port."""
    host, _, port = home.rpartition(":")
    return host, int(port)


class Claim(Struct, frozen=True):
    """A member's statement that a server serves a range of slots under a config epoch."""

    epoch: int  # 0: unknown
    first: int
    last: int
    node: str  # the server's id in the cluster
    home: str  # host:port


class View(Struct, frozen=True):
    """One member's view of its cluster."""

    claims: frozenset[Claim]
    members: frozenset[str]  # the addresses of primaries and replicas
    nodes: frozenset[str]  # the ids of all these servers
    given: bool = False  # whether the member's address is one of those that the operator gave


class Map(Struct, frozen=True, dict=True):
    """The home of each slot, and all members of the cluster."""

    homes: tuple[str | None, ...]
    members: frozenset[str]

    @cached_property
    def primaries(self) -> frozenset[str]:
        """The servers that serve slots."""
        return frozenset(home for home in self.homes if home is not None)

    def moved(self, slot: int, home: str) -> "Map":
        """Return the map with another home for one slot."""
        return Map((*self.homes[:slot], home, *self.homes[slot + 1 :]), self.members | {home})


NOTHING: Final = Map((None,) * SLOTS, frozenset())


def read(rows: Sequence[Any], lines: str, asked: str, *, given: bool = False) -> View:
    """Return the view from a member's replies to CLUSTER SLOTS (`rows`) and CLUSTER NODES (`lines`).

    If `lines` is empty, no epoch is known. `asked` is the address of the member. Its host is used for servers that
    announce none. Raises ValueError if the replies can't be parsed.
    """
    epochs = _epochs(lines)
    claims: list[Claim] = []
    members: set[str] = set()
    nodes: set[str] = set()
    try:
        for first, last, *servers in rows:
            if not 0 <= first <= last < SLOTS:
                raise ValueError("no such slots")
            homes = [_home(server, asked) for server in servers]
            ids = [server[2].decode() for server in servers]
            members.update(home for home in homes if home is not None)
            nodes.update(ids)
            if homes[0] is not None:
                claims.append(Claim(epochs.get(ids[0], 0), first, last, ids[0], homes[0]))
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{asked} answers CLUSTER SLOTS in a way that can't be understood") from error
    return View(frozenset(claims), frozenset(members), frozenset(nodes), given)


def _epochs(lines: str) -> dict[str, int]:
    """Return the config epoch of each server by its id."""
    words = (line.split() for line in lines.splitlines())
    return {line[0]: int(line[6]) for line in words if len(line) >= 8}


def _home(server: Sequence[Any], asked: str) -> str | None:
    """Return a server's `host:port`, or None if it announces a host name that this member doesn't know yet."""
    host = (server[0] or b"").decode() or address(asked)[0]
    if host == "?":
        more = server[3] if len(server) > 3 else []
        known = dict(zip(more[::2], more[1::2], strict=False))
        if not (ip := known.get(b"ip")):
            return None
        host = ip.decode()
    return f"{host}:{server[1]}"


def merged(views: Iterable[View]) -> Map:
    """Merge views: each slot goes to the claim with the highest epoch, and of several to the most frequent one."""
    views = _of_one_cluster([view for view in views if view.claims])
    claims = Counter(claim for view in views for claim in view.claims)
    homes: list[str | None] = [None] * SLOTS
    for claim in sorted(claims, key=lambda claim: (claim.epoch, claims[claim], claim.home)):
        homes[claim.first : claim.last + 1] = [claim.home] * (claim.last + 1 - claim.first)
    return Map(tuple(homes), frozenset(member for view in views for member in view.members))


def _of_one_cluster(views: list[View]) -> list[View]:
    """Return the views of one cluster: the one with most of the operator's addresses, and of several the largest.

    An address may belong to another cluster by now. Members of one cluster know each other's ids.
    """
    clusters: list[tuple[set[str], list[View]]] = []
    for view in views:
        nodes, together = set(view.nodes), [view]
        for others in [one for one in clusters if one[0] & nodes]:
            clusters.remove(others)
            nodes |= others[0]
            together += others[1]
        clusters.append((nodes, together))
    return max(
        (together for _, together in clusters),
        key=lambda together: (sum(view.given for view in together), len(together)),
        default=[],
    )
