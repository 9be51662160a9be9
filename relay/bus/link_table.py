"""The links of a node with all others. The table knows which are busy and which may be forgotten. No I/O.

A link with a crashed node would stay forever if nobody here waits for that node. A link is therefore doubtful if
nothing was received on it for the length of a lease. Its node's lease is then checked, in bounded work, and the link is
forgotten if two checks, a lease apart, find none. Nothing is lost for good: if the node lives after all, its next frame
shows a gap, and both sides begin new streams.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from relay.bus.reliable_link import Link
from relay.metrics import Counts

# The maximum number of links. It is far above any cluster, and bounds the cost of garbage on the channel.
LINKS: Final = 4096
# When the table is full, up to this number of the links that were silent for the longest time are dropped.
ROOM: Final = LINKS // 8
# The maximum number of leases checked in a second, so that 4,000 dead nodes are forgotten within a minute.
CHECKS: Final = 256
# The same for nodes that were alive at the last check, so that many quiet nodes cost Redis little.
LIVELY_CHECKS: Final = 8


class LinkTable:
    """The links of the node `node_id`, by the other nodes' ids. `lease` is the duration of a lease in seconds."""

    def __init__(self, node_id: str, counts: Counts, lease: float) -> None:
        self._node_id = node_id
        self._counts = counts
        self._lease = lease
        self._links: dict[str, Link] = {}
        # Returns the link with a node, or None. It is the dict's own method, as each message and each frame calls it.
        self.get: Final[Callable[[str], Link | None]] = self._links.get
        self._due: list[tuple[float, str]] = []  # a heap: when a link becomes doubtful unless a frame comes
        self._absent: dict[str, float] = {}  # nodes without a lease at the last check: when none was first found
        # Links that have something to do, or had. The bus adds one when it queues a message to its node or when a frame
        # comes from there: a call for each would be too many.
        self.busy_ids: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._links

    def items(self) -> Iterable[tuple[str, Link]]:
        """Return all links by node id."""
        return self._links.items()

    def open(self, node_id: str, now: float) -> Link | None:
        """Make the link with this node, which has none, and return it, or None if the table is full of busy links."""
        if len(self._links) >= LINKS and not self._make_room():
            return None
        link = self._links[node_id] = Link(self._node_id, self._counts)
        link.heard = now
        heappush(self._due, (now + self._lease, node_id))
        return link

    def _make_room(self) -> bool:
        """Forget the quiet links that were silent for the longest time. Return whether there were any."""
        idle = [node_id for node_id, link in self._links.items() if link.quiet]
        idle.sort(key=lambda node_id: self._links[node_id].heard)
        for node_id in idle[:ROOM]:
            self.forget(node_id)
        self._due = [one for one in self._due if one[1] in self._links]
        heapify(self._due)
        return bool(idle)

    def forget(self, node_id: str) -> None:
        """Drop the link with a node that is dead or may be, and the messages under way to it."""
        self._links.pop(node_id, None)
        self._absent.pop(node_id, None)
        self.busy_ids.pop(node_id, None)

    # --- busy links

    def busy(self) -> list[tuple[str, Link]]:
        """Return the links that have something to do. Quiet ones cost nothing."""
        busy = []
        for node_id in list(self.busy_ids):
            link = self._links[node_id]
            if link.quiet:
                del self.busy_ids[node_id]
            else:
                busy.append((node_id, link))
        return busy

    # --- links that may be forgotten

    def doubtful(self, now: float) -> list[str]:
        """Return the nodes whose leases are due for a check; `judge` needs its result. Call this once a second."""
        node_ids: list[str] = []
        for _ in range(CHECKS):
            if not self._due or self._due[0][0] > now:
                break
            _, node_id = heappop(self._due)
            link = self._links.get(node_id)
            if link is None:
                continue
            due = link.heard + self._lease
            if due <= now and link.quiet:
                node_ids.append(node_id)
                continue
            self._absent.pop(node_id, None)
            # If it is due but not quiet, something is under way to its node, which is therefore watched already.
            heappush(self._due, (due if due > now else now + self._lease, node_id))
        return node_ids

    def judge(self, node_ids: Iterable[str], absent: set[str], now: float) -> list[str]:
        """Forget and return the nodes that have had no lease for long enough. `absent` has those without one now."""
        gone = []
        for node_id in node_ids:
            if node_id not in self._links:
                continue
            if node_id not in absent:
                self._absent.pop(node_id, None)
                heappush(self._due, (now + max(self._lease, len(self._links) / LIVELY_CHECKS), node_id))
            elif now - self._absent.setdefault(node_id, now) >= self._lease and self._links[node_id].quiet:
                self.forget(node_id)
                gone.append(node_id)
            else:
                heappush(self._due, (now + self._lease, node_id))
        return gone
