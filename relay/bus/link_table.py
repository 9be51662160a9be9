"""The links of a node with all others: which of them have something to do, and which may be forgotten. No I/O.

A link with a node that has crashed would stay for ever where nobody here waits for that node. So a link on which
nothing has been heard for a lease is doubtful: its node's lease is looked at, in bounded work, and if two looks, a
lease apart, find none, the link is forgotten. That costs nothing that can't be made good: if the node lives after all,
its next frame shows a gap, and both sides begin anew.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from relay.bus.link import Link
from relay.metrics import Counts

# Nodes that one node has links with. Far above any cluster; bounds what garbage on the channel can cost.
LINKS: Final = 4096
# When there are too many, so many of those that were silent for the longest time make room.
ROOM: Final = LINKS // 8
# Leases looked at in one second, at the most: 4,000 dead nodes are forgotten within a minute.
LOOKS: Final = 256
# The same for nodes that were alive at the last look, so that many nodes that are quiet cost Redis little.
LIVELY_LOOKS: Final = 8


class LinkTable:
    """The links of the node `node_id`, by the other nodes' uids. `lease`: for how long one is held, in seconds."""

    def __init__(self, node_id: str, counts: Counts, lease: float) -> None:
        self._node_id = node_id
        self._counts = counts
        self._lease = lease
        self._links: dict[str, Link] = {}
        # The link with this node, if there is one. No function of ours: each piece of mail and each frame asks for it.
        self.get: Final[Callable[[str], Link | None]] = self._links.get
        self._looks: list[tuple[float, str]] = []  # a heap: when the link is to be doubted, unless it's heard before
        self._absent: dict[str, float] = {}  # since when no lease was found, of those without one at the last look
        self._busy: dict[str, None] = {}  # with something to send, under way or owed, or that had

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._links

    def items(self) -> Iterable[tuple[str, Link]]:
        """All of them."""
        return self._links.items()

    def open(self, node_id: str, now: float) -> Link | None:
        """The link with this node, made where there is none; None where there are too many that are in use."""
        link = self._links.get(node_id)
        if link is None:
            if len(self._links) >= LINKS and not self._make_room():
                return None
            link = self._links[node_id] = Link(self._node_id, self._counts)
            link.heard = now
            heappush(self._looks, (now + self._lease, node_id))
        return link

    def _make_room(self) -> bool:
        """Forget those that were silent for the longest time and have nothing to do."""
        idle = [node_id for node_id, link in self._links.items() if link.quiet]
        idle.sort(key=lambda node_id: self._links[node_id].heard)
        for node_id in idle[:ROOM]:
            self.forget(node_id)
        self._looks = [look for look in self._looks if look[1] in self._links]
        heapify(self._looks)
        return bool(idle)

    def forget(self, node_id: str) -> None:
        """That node is dead, or may be: what was under way to it will never arrive."""
        self._links.pop(node_id, None)
        self._absent.pop(node_id, None)
        self._busy.pop(node_id, None)

    # --- those with something to do

    def touch(self, node_id: str) -> None:
        """Something was posted to this node, or came from it."""
        self._busy[node_id] = None

    def busy(self) -> list[tuple[str, Link]]:
        """Those that have something to do; the quiet ones cost nothing."""
        busy = []
        for node_id in list(self._busy):
            link = self._links[node_id]
            if link.quiet:
                del self._busy[node_id]
            else:
                busy.append((node_id, link))
        return busy

    # --- those that may be forgotten

    def doubtful(self, now: float) -> list[str]:
        """Nodes whose lease is to be looked at by now: `judge` has to follow. To be asked once a second."""
        node_ids: list[str] = []
        for _ in range(LOOKS):
            if not self._looks or self._looks[0][0] > now:
                break
            _, node_id = heappop(self._looks)
            link = self._links.get(node_id)
            if link is None:
                continue
            due = link.heard + self._lease
            if due <= now and link.quiet:
                node_ids.append(node_id)
                continue
            self._absent.pop(node_id, None)
            # If it is due all the same, something is under way to it: then its node is watched already.
            heappush(self._looks, (due if due > now else now + self._lease, node_id))
        return node_ids

    def judge(self, node_ids: Iterable[str], absent: set[str], now: float) -> list[str]:
        """`absent`: those of them without a lease. Returns those that were now forgotten."""
        gone = []
        for node_id in node_ids:
            if node_id not in self._links:
                continue
            if node_id not in absent:
                self._absent.pop(node_id, None)
                heappush(self._looks, (now + max(self._lease, len(self._links) / LIVELY_LOOKS), node_id))
            elif now - self._absent.setdefault(node_id, now) >= self._lease and self._links[node_id].quiet:
                self.forget(node_id)
                gone.append(node_id)
            else:
                heappush(self._looks, (now + self._lease, node_id))
        return gone
