"""Whether this node still owns its names, as far as its lease tells, and what its clients do while that isn't known."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import structlog

from relay.directory.directory import Lease

# While the lease is not known to hold, clients' lines wait for so long for the directory's word; if it can't be had,
# Redis is away, and chats on this node go on.
HOLD_SECONDS: Final = 0.5

log = structlog.get_logger()


class _State(Enum):
    NEW = auto()  # no lease was ever had
    SURE = auto()  # the lease holds, and is watched
    HOLDING = auto()  # it's overdue: clients' lines wait
    ADRIFT = auto()  # Redis can't be asked: chats on this node go on


class LeaseGuard:
    """Watches the lease from when it first holds. `hold()` makes clients' lines wait, `let_go()` ends that."""

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
        self.watching = state is _State.SURE  # the lease has to be looked at in each turn; `overdue` is for its lapse

    def stands(self) -> None:
        """The lease holds."""
        unsure = self._state in (_State.HOLDING, _State.ADRIFT)
        self._be(_State.SURE)
        if unsure:
            self._let_go()

    def overdue(self) -> None:
        """The lease doesn't hold. If Redis is away, that was to come; else this node has slept, and must ask first."""
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
