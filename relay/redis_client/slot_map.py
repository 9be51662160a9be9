"""Which server of a cluster serves which slot, as its members tell it. No I/O.

Members may differ: one that is cut off from the others goes on telling what was true before. Each claim to a slot has
the config epoch under which its primary got it, and the highest one holds. That is how the members themselves decide
between two who claim a slot, so what the majority has agreed on wins against any number of members who missed it.
"""

import re
from binascii import crc_hqx
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

SLOTS: Final = 16_384  # Redis Cluster's own number

_REDIRECTION: Final = re.compile(r"(?P<kind>MOVED|ASK) (?P<slot>\d{1,5}) (?P<host>\S*):(?P<port>\d{1,5})$")


def slot_of(name: bytes) -> int:
    """The slot of a key or channel: of what is between the first `{` and the next `}`, unless that is nothing."""
    _, brace, tail = name.partition(b"{")
    tag, end, _ = tail.partition(b"}")
    return crc_hqx(tag if brace and end and tag else name, 0) % SLOTS


class Redirection(Struct, frozen=True):
    """A server's word that a slot is served elsewhere."""

    slot: int
    home: str
    asking: bool  # only this once, as the slot is on its way there


def redirection(refusal: str, asked: str) -> Redirection | None:
    """What a server's refusal says of another server; None if that isn't what it is about, or it can't be known.

    `asked`: the address of the server that refused, whose host stands in for one that isn't announced.
    """
    found = _REDIRECTION.match(refusal)
    if found is None or int(found["slot"]) >= SLOTS or found["host"] == "?":
        return None
    host = found["host"] or address(asked)[0]
    return Redirection(int(found["slot"]), f"{host}:{found['port']}", found["kind"] == "ASK")


def address(home: str) -> tuple[str, int]:
    """The host and the port of a server that is called `host:port`."""
    host, _, port = home.rpartition(":")
    return host, int(port)


class Claim(Struct, frozen=True):
    """What a member says of a range of slots: who serves it, and under which config epoch."""

    epoch: int  # 0: it isn't known
    first: int
    last: int
    node: str  # the server's id in the cluster
    home: str  # host:port


class View(Struct, frozen=True):
    """What one member says of its cluster."""

    claims: frozenset[Claim]
    members: frozenset[str]  # the addresses of primaries and replicas
    nodes: frozenset[str]  # their ids
    given: bool = False  # the member's address is one of those that the operator gave


class Map(Struct, frozen=True):
    """Who serves each slot, and who else is in the cluster."""

    homes: tuple[str | None, ...]
    members: frozenset[str]

    @property
    def primaries(self) -> frozenset[str]:
        """The servers that serve slots."""
        return frozenset(home for home in self.homes if home is not None)

    def moved(self, slot: int, home: str) -> "Map":
        """The map with another home for one slot."""
        return Map((*self.homes[:slot], home, *self.homes[slot + 1 :]), self.members | {home})


NOTHING: Final = Map((None,) * SLOTS, frozenset())


def read(rows: Sequence[Any], lines: str, asked: str, *, given: bool = False) -> View:
    """The view that a member's answers to CLUSTER SLOTS and CLUSTER NODES amount to. Raises ValueError.

    `lines` may be empty: then no epoch is known. `asked`: the address at which the member was asked, whose host stands
    in for one that a server doesn't announce.
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
    """The config epoch of each node, by its id."""
    words = (line.split() for line in lines.splitlines())
    return {line[0]: int(line[6]) for line in words if len(line) >= 8}


def _home(server: Sequence[Any], asked: str) -> str | None:
    """`host:port` of a server. None: it is to be reached by a name, and hasn't told it to this member yet."""
    host = (server[0] or b"").decode() or address(asked)[0]
    if host == "?":
        more = server[3] if len(server) > 3 else []
        known = dict(zip(more[::2], more[1::2], strict=False))
        if not (ip := known.get(b"ip")):
            return None
        host = ip.decode()
    return f"{host}:{server[1]}"


def merged(views: Iterable[View]) -> Map:
    """What views add up to: for each slot the claim under the highest epoch; of several the one that most make."""
    views = _of_one_cluster([view for view in views if view.claims])
    claims = Counter(claim for view in views for claim in view.claims)
    homes: list[str | None] = [None] * SLOTS
    for claim in sorted(claims, key=lambda claim: (claim.epoch, claims[claim], claim.home)):
        homes[claim.first : claim.last + 1] = [claim.home] * (claim.last + 1 - claim.first)
    return Map(tuple(homes), frozenset(member for view in views for member in view.members))


def _of_one_cluster(views: list[View]) -> list[View]:
    """Those views that are of the same cluster: one with an address that the operator gave, else the most.

    An address may be another cluster's by now. Members of one cluster know each other by their ids.
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
