"""Watches whether the lease holds, and so whether this node owns its names, and holds clients' lines while in doubt."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import structlog

from relay.directory.directory import Lease

# While it isn't known whether the lease holds, clients' lines wait for the directory's answer for this long. Without an
# answer Redis is down, and chats on this node go on.
HOLD_SECONDS: Final = 0.5

log = structlog.get_logger()


class _State(Enum):
    NEW = auto()  # there was no lease yet
    SURE = auto()  # the lease holds, and is watched
    HOLDING = auto()  # the lease is overdue, and clients' lines wait
    ADRIFT = auto()  # Redis can't be asked, and chats on this node go on


class LeaseDoubtHold:
    """Watches the lease once it has held for the first time. `hold()` makes clients' lines wait, until `let_go()`."""

    def __init__(
        self,
        lease: Lease,
        call_later: Callable[[float, Callable[[], None]], object],
        hold: Callable[[], None],
        let_go: Callable[[], None],
    ) -> None:
        self._lease = lease
        self._call_later = call_later
        self._hold = hold
        self._let_go = let_go
        self._be(_State.NEW)

    def _be(self, state: _State) -> None:
        self._state = state
        # While this is set, the hub checks the lease in each tick, and calls `overdue` once it has lapsed.
        self.watching = state is _State.SURE

    def stands(self) -> None:
        """Note that the lease holds, and let waiting lines go on."""
        unsure = self._state in (_State.HOLDING, _State.ADRIFT)
        self._be(_State.SURE)
        if unsure:
            self._let_go()

    def overdue(self) -> None:
        """Handle a lease that doesn't hold.

        If Redis is down this is expected; otherwise the process was suspended and must re-check ownership.
        """
        if self._lease.failing:
            self._drift()
            return
        log.warning("lease overdue: holding clients' lines")
        self._be(_State.HOLDING)
        self._hold()
        self._lease.hurry()
        self._call_later(HOLD_SECONDS, self._drift)

    def _drift(self) -> None:
        if not self._lease.standing and self._state is not _State.ADRIFT:
            log.warning("redis away: chats on this node go on")
            self._be(_State.ADRIFT)
            self._let_go()
