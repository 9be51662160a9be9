"""Who owns which name, on which node, paired with whom.

Soft state: nodes write all of it again when Redis forgets. One hash a partition holds its records and its epoch, so
that whoever loses a record loses the epoch too, and a name that isn't there is known to be free or known to be
unknown. Records count only while their node's lease does.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

import anyio
import msgspec
import structlog

from relay.directory import record
from relay.directory.data_loss import PARTITION_SECONDS, Shards
from relay.directory.lease import Lease
from relay.directory.node_liveness import NodeLiveness
from relay.directory.record import BadRecord, Record, SessionRecord
from relay.model import Located
from relay.protocol.errors import Presence
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import PARTITIONS, Keys, RecordKey

__all__ = ["Directory", "Lease", "NameLost", "Record", "SessionRecord", "Unavailable"]

# A node visits one partition this often, to refresh its TTL and drop what dead nodes left: all of them in three hours.
SWEEP_SECONDS: Final = 10.0
# Records read at one visit.
SWEEP_RECORDS: Final = 200
# Pause before a forgotten partition is asked again: its owners write themselves back within some milliseconds.
FORGOTTEN_SECONDS: Final = 0.1
# Tries to find out about a name in a forgotten partition before it is called unavailable.
FORGOTTEN_TRIES: Final = 8
# The scripts count in doubles.
FENCE_MAX: Final = 2**53 - 2**20

_FOUND: Final = Script("found")
_CLAIM: Final = Script("claim")
_FIND: Final = Script("find")
_SAVE: Final = Script("save")
_RELEASE: Final = Script("release")

log = structlog.get_logger()


class NameLost(Exception):
    """Another session owns the name."""


class DirectoryDelegate(Protocol):
    """Whom the directory serves: the node's hub."""

    def forgotten(self, *partitions: int) -> None:
        """Redis has lost these partitions: have every node write its users back."""

    def here(self, session_id: str) -> bool:
        """Whether a session of this node is alive."""


class Directory:
    """This node's view of the directory. Methods raise Unavailable when Redis doesn't answer within a second."""

    def __init__(self, store: RedisClient, keys: Keys, lease: Lease, delegate: DirectoryDelegate) -> None:
        self.keys = keys
        self.lease = lease
        self.shards = Shards(store, keys, lease)
        self.peers = NodeLiveness(store, keys, lease, self.shards)
        self._store = store
        self._delegate = delegate
        self._highest = 0  # fence
        self._ttl = PARTITION_SECONDS * 1000

    async def claim(self, canonical_name: str, session_id: str, body: SessionRecord) -> int | None:
        """Own a name: its fence, or None if it is taken. Waits while a forgotten partition hears its owners first."""
        place = self.keys.place(canonical_name)
        seen = ""
        while True:
            owner = record.owner(self.lease.node_id, str(self.lease.incarnation), session_id)
            settle = round(self.lease.seconds * 1e6)
            text = record.encode(body)
            answer = await self._store.script(
                _CLAIM, place.key, place.field, owner, text, self._highest, seen, settle, self._ttl
            )
            match answer:
                case [b"ok", fencing_token]:
                    return self._fence(fencing_token)
                case [b"taken", raw]:
                    holder = _read(raw, place)
                    if holder is None or not await self._vacant(holder):
                        return None
                    seen = holder.version
                case _:
                    await self._wait(place)

    async def find_token(self, canonical_name: str, token_hash: str) -> Record | None:
        """The record of a session that this token resumes, if there is one.

        Raises Unavailable also where Redis has forgotten, and the owners haven't been heard yet.
        """
        holder = await self.find(canonical_name, token_hash)
        return holder if holder is not None and _shows(holder, token_hash) else None

    async def resumed(self, canonical_name: str, token_hash: str) -> Record | None:
        """The record that is there, if it has this token, whatever else is known of it."""
        place = self.keys.place(canonical_name)
        while (answer := await self._store.script(_FIND, place.key, place.field, 0, self._ttl))[0] == b"forgot":
            self._delegate.forgotten(place.partition)
        holder = _read(answer[1], place) if answer[0] == b"found" else None
        return holder if holder is not None and _shows(holder, token_hash) else None

    async def find(self, canonical_name: str, token_hash: str | None = None) -> Record | None:
        """The record of the session that owns a name, if there is one.

        `token_hash`: a record with another token counts for nothing until all owners were heard.
        Raises Unavailable also where Redis has forgotten, and the owners haven't been heard yet.
        """
        holder = await self._find(self.keys.place(canonical_name), token_hash)
        # One of this node's that isn't here: an earlier try whose answer was lost on its way.
        if holder is None or holder.node_id == self.lease.node_id:
            return holder
        try:
            return None if await self._vacant(holder) else holder
        except Unavailable:
            if token_hash is None:
                raise
            return holder  # whoever has its token may go on, whether or not the node that had it lives

    async def _find(self, place: RecordKey, token_hash: str | None = None) -> Record | None:
        """The record that is there, dead or alive. Waits, within bounds, where Redis has forgotten; see `find`."""
        settle = round(self.lease.seconds * 1e6)
        for _ in range(FORGOTTEN_TRIES):
            match await self._store.script(_FIND, place.key, place.field, settle, self._ttl):
                case [b"none"]:
                    return None
                case [b"found", raw, settled]:
                    holder = _read(raw, place)
                    if settled or token_hash is None or (holder is not None and _shows(holder, token_hash)):
                        return holder
            await self._wait(place)
        raise Unavailable("the partition was forgotten")

    async def take_over(
        self, holder: Record, canonical_name: str, session_id: str, body: SessionRecord | None = None
    ) -> int | None:
        """Own a name whose token was shown, if the record is still the one that was seen: the fence, or None.

        `body`: what is known of the new session; without it, what was known of the old one.

        Raises Unavailable also where its partition was forgotten a moment ago.
        """
        place = self.keys.place(canonical_name)
        owner = record.owner(self.lease.node_id, str(self.lease.incarnation), session_id)
        text = record.encode(body or msgspec.structs.replace(holder.body, away=False, calling=False))
        highest = max(self._highest, holder.fencing_token)
        answer = await self._store.script(
            _CLAIM, place.key, place.field, owner, text, highest, holder.version, 0, self._ttl
        )
        if answer[0] == b"forgot":
            self._delegate.forgotten(place.partition)
            raise Unavailable("the partition was forgotten")
        return self._fence(answer[1]) if answer[0] == b"ok" else None

    async def _wait(self, place: RecordKey) -> None:
        self._delegate.forgotten(place.partition)  # also while it waits: the call may have been lost on its way
        await anyio.sleep(FORGOTTEN_SECONDS)

    async def _vacant(self, holder: Record) -> bool:
        """Whether the owner is dead for good: its node has been for longer than its session could be resumed."""
        if holder.node_id == self.lease.node_id:
            return not self._delegate.here(holder.session_id)
        lapsed = await self.peers.lapsed(holder.node_id)
        return lapsed is not None and lapsed >= holder.body.grace

    async def locate(self, canonical_name: str) -> Located:
        """Where a name lives and what its user does."""
        holder = await self._find(self.keys.place(canonical_name))
        if holder is None or await self._vacant(holder):
            return Located(Presence.OFFLINE)
        if holder.body.away or await self.peers.lapsed(holder.node_id) is not None:
            return Located(Presence.AWAY, holder.node_id)
        return Located(Presence.BUSY if holder.body.chat or holder.body.calling else Presence.FREE, holder.node_id)

    async def save(self, canonical_name: str, session_id: str, fencing_token: int, body: SessionRecord) -> int:
        """Write a record that this session owns, and put it back where Redis forgot it. Returns the fence.

        Raises NameLost if another session owns the name.
        """
        place = self.keys.place(canonical_name)
        answer = await self._store.script(
            _SAVE,
            place.key,
            place.field,
            self.lease.node_id,
            self.lease.incarnation,
            session_id,
            record.encode(body),
            fencing_token,
            self._ttl,
        )
        if answer[0] == b"lost":
            raise NameLost
        if answer[0] == b"forgot":
            self._delegate.forgotten(place.partition)
        return self._fence(answer[1])

    async def release(self, canonical_name: str, session_id: str) -> None:
        """Give a name back, if this session owns it."""
        place = self.keys.place(canonical_name)
        await self._store.script(_RELEASE, place.key, place.field, self.lease.node_id, session_id)

    def _fence(self, raw: bytes) -> int:
        fencing_token = int(raw)
        self.know(fencing_token)
        return fencing_token

    @property
    def crowded(self) -> bool:
        """Redis answers, and others' questions come first: to wait is all that helps."""
        return self._store.crowded

    @property
    def latency(self) -> float:
        """Seconds that the way to Redis and back takes, as far as is known."""
        return self._store.latency

    @property
    def highest(self) -> int:
        """The highest fence that is known here."""
        return self._highest

    def know(self, fencing_token: int) -> None:
        """Another node knows of this fence: an older server's clock, or memory, must not grant lower ones."""
        if fencing_token <= FENCE_MAX:
            self._highest = max(self._highest, fencing_token)

    async def found(self, alone: Callable[[], Awaitable[bool]]) -> None:
        """Make the partitions that aren't there: at the first start of a cluster, or when Redis has forgotten.

        `await alone()` says whether no other node has users; then nobody has to be waited for. Those of a server that
        can't be asked are left to `shards.watch`. Raises Unavailable if none can.
        """
        keys = {self.keys.partition(number): number for number in range(PARTITIONS)}
        there = dict(zip(keys, await self._store.each(("HEXISTS", key, "@") for key in keys), strict=True))
        missing = [key for key, exists in there.items() if exists == 0]
        if all(isinstance(exists, Unavailable) for exists in there.values()):
            raise Unavailable("no part of the directory can be asked for")
        if not missing:
            return
        empty = await alone()
        log.info("directory founded", partitions=len(missing), empty=empty)
        made = await self._store.scripts(_FOUND, missing, int(empty), self._ttl)
        if not empty:
            self._delegate.forgotten(*(keys[key] for key, (done, *_) in zip(missing, made, strict=True) if done))

    async def tidy(self, partitions: Iterable[int]) -> None:
        """Drop what doesn't live any more from partitions that were forgotten: an older server may remember more."""
        with suppress(Unavailable):
            for number in partitions:
                await self._visit(self.keys.partition(number))

    async def sweep(self) -> None:
        """For ever: visit one partition after the other, keep it from expiring, drop what dead nodes left in it."""
        number = hash(self.lease.node_id) % PARTITIONS
        while True:
            await anyio.sleep(SWEEP_SECONDS)
            number = (number + 1) % PARTITIONS
            try:
                await self._visit(self.keys.partition(number))
            except Unavailable as error:
                log.debug("sweep put off", error=str(error))

    async def _visit(self, key: str) -> None:
        await self._store.call("PEXPIRE", key, self._ttl)
        cursor = 0
        while True:
            cursor, fields = await self._store.call("HSCAN", key, cursor, "COUNT", SWEEP_RECORDS)
            for field, raw in fields.items():
                try:
                    holder = record.decode(raw)
                except BadRecord:
                    continue  # the epoch, or not ours to judge
                if await self._vacant(holder):
                    await self._store.script(_RELEASE, key, field, holder.node_id, holder.session_id)
            if not int(cursor):
                return


def _shows(holder: Record, token_hash: str) -> bool:
    return hmac.compare_digest(holder.body.token, token_hash)


def _read(raw: bytes, place: RecordKey) -> Record | None:
    try:
        return record.decode(raw)
    except BadRecord as error:
        log.warning("unreadable record", key=place.key, field=place.field, error=str(error))
        return None
