"""The directory knows the owner of each name, its node and its partner.

It is soft state: the nodes write all of it again if Redis loses it. Each partition is a hash with its records and its
epoch, so a server that loses a record loses the epoch too. A missing name is therefore known to be either free or lost.
A record counts only while its node holds its lease.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol
from zlib import crc32

import anyio
import msgspec
import structlog

from relay.directory import record
from relay.directory.data_loss import PARTITION_SECONDS, DataLossWatch
from relay.directory.lease import Lease
from relay.directory.node_liveness import NodeLiveness
from relay.directory.record import BadRecord, Record, SessionRecord
from relay.protocol.errors import Presence
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import Keys, RecordKey
from relay.shared_types import FormerSession, Located

__all__ = ["Directory", "Lease", "NameLost", "Record", "SessionRecord", "Unavailable"]

# The interval at which a node visits a partition, to refresh its TTL and drop the records of dead nodes. It visits all
# of them in three hours.
SWEEP_SECONDS: Final = 10.0
# The number of records that one HSCAN is asked for.
SWEEP_RECORDS: Final = 200
# The pause before a retry in a partition that lost its data: the nodes write its records again within milliseconds.
FORGOTTEN_SECONDS: Final = 0.1
# The number of look-ups of a name in a partition that lost its data before the answer is "unavailable".
FORGOTTEN_TRIES: Final = 8
# A server that was replaced may be asked for this long (docs/guarantees.md). A record there may name a session that has
# left this node meanwhile.
REPLACED_SERVER_SECONDS: Final = 5.0
# The highest fencing token that is believed. The scripts count in doubles.
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
    """The user of the directory: the node's hub."""

    def partitions_lost(self, *partitions: int) -> None:
        """Have all nodes write their users' records again, as Redis has lost these partitions."""

    def here(self, session_id: str) -> bool:
        """Return whether a session of this node is alive."""

    def left(self, session_id: str) -> bool:
        """Return whether a session of this node was taken over a moment ago, here or by another node."""


class Directory:
    """This node's access to the directory. Methods raise Unavailable if Redis doesn't answer within a second."""

    def __init__(self, redis_client: RedisClient, keys: Keys, lease: Lease, delegate: DirectoryDelegate) -> None:
        self.keys = keys
        self.lease = lease
        self.data_loss = DataLossWatch(redis_client, keys, lease)
        self.node_liveness = NodeLiveness(redis_client, keys, lease, self.data_loss)
        self._redis_client = redis_client
        self._delegate = delegate
        self._highest = 0  # the highest known fencing token
        self._ttl = PARTITION_SECONDS * 1000

    async def claim(self, canonical_name: str, session_id: str, body: SessionRecord) -> int | None:
        """Claim a name. Return its fencing token, or None if it is taken.

        If its partition has lost data, this waits until the owners have written their records again.
        """
        place = self.keys.place(canonical_name)
        seen = ""
        while True:
            owner = record.owner(self.lease.node_id, str(self.lease.incarnation), session_id)
            min_age = round(self.lease.seconds * 1e6)
            text = record.encode(body)
            answer = await self._redis_client.script(
                _CLAIM, place.key, place.field, owner, text, self._highest, seen, min_age, self._ttl
            )
            match answer:
                case [b"ok", fencing_token]:
                    return self._fence(fencing_token)
                case [b"taken", raw]:
                    holder = self._read(raw, place)
                    if holder is None or self._outdated(holder) or not await self._vacant(holder):
                        return None
                    seen = holder.version
                case _:
                    await self._wait(place)

    async def find_token(self, canonical_name: str, token_hash: str) -> Record | None:
        """Return the record of the session that this token resumes, or None.

        Raises Unavailable, also if Redis has lost data and the owners haven't written their records again yet.
        """
        holder = await self.find(canonical_name, token_hash)
        return holder if holder is not None and _shows(holder, token_hash) else None

    async def resumed(self, canonical_name: str, token_hash: str) -> Record | None:
        """Return the record of this name if it has this token, whether or not its owner is alive; otherwise None."""
        place = self.keys.place(canonical_name)
        while (answer := await self._redis_client.script(_FIND, place.key, place.field, 0, self._ttl))[0] == b"forgot":
            self._delegate.partitions_lost(place.partition)
        holder = self._read(answer[1], place) if answer[0] == b"found" else None
        return holder if holder is not None and _shows(holder, token_hash) else None

    async def find(self, canonical_name: str, token_hash: str | None = None) -> Record | None:
        """Return the record of the session that owns a name, or None.

        With `token_hash`, a record with another token counts only once all owners have had time to write theirs.
        Raises Unavailable, also if Redis has lost data and the owners haven't written their records again yet.
        """
        holder = await self._find(self.keys.place(canonical_name), token_hash)
        # A record of this node without a session comes from an earlier try whose reply was lost on its way.
        if holder is None or holder.node_id == self.lease.node_id:
            return holder
        try:
            return None if await self._vacant(holder) else holder
        except Unavailable:
            if token_hash is None:
                raise
            return holder  # with the token a client may resume, whether or not the former node is alive

    async def _find(self, place: RecordKey, token_hash: str | None = None) -> Record | None:
        """Return the record, whether its owner is dead or alive. Wait within bounds if Redis lost data; see `find`."""
        min_age = round(self.lease.seconds * 1e6)
        for _ in range(FORGOTTEN_TRIES):
            match await self._redis_client.script(_FIND, place.key, place.field, min_age, self._ttl):
                case [b"none"]:
                    return None
                case [b"found", raw, trusted]:
                    holder = self._read(raw, place)
                    if trusted or token_hash is None or (holder is not None and _shows(holder, token_hash)):
                        return holder
            await self._wait(place)
        raise Unavailable("the partition was forgotten")

    async def take_over(
        self, holder: Record, canonical_name: str, session_id: str, body: SessionRecord | None = None
    ) -> int | None:
        """Claim a name for a client with its token. Return the fencing token, or None if the record has changed.

        `holder` is the record that was read. `body` is the new session's; without it the old one's is used.

        Raises Unavailable, also if its partition lost its data a moment ago.
        """
        place = self.keys.place(canonical_name)
        owner = record.owner(self.lease.node_id, str(self.lease.incarnation), session_id)
        text = record.encode(body or moved(holder))
        highest = max(self._highest, holder.fencing_token)
        answer = await self._redis_client.script(
            _CLAIM, place.key, place.field, owner, text, highest, holder.version, 0, self._ttl
        )
        if answer[0] == b"forgot":
            self._delegate.partitions_lost(place.partition)
            raise Unavailable("the partition was forgotten")
        return self._fence(answer[1]) if answer[0] == b"ok" else None

    async def _wait(self, place: RecordKey) -> None:
        self._delegate.partitions_lost(place.partition)  # at each retry: a roll call may have been lost on its way
        await anyio.sleep(FORGOTTEN_SECONDS)

    async def _vacant(self, holder: Record) -> bool:
        """Return whether the owner is dead for good: its node's lease lapsed longer ago than the grace period."""
        if holder.node_id == self.lease.node_id:
            return not self._delegate.here(holder.session_id)
        lapsed = await self.node_liveness.lapsed(holder.node_id)
        return lapsed is not None and lapsed >= holder.body.grace

    def _outdated(self, holder: Record) -> bool:
        """Return whether the session has left this node, as only a server doesn't know that another one has replaced.

        The name has another owner then, and is given to nobody there.
        """
        return holder.node_id == self.lease.node_id and self._delegate.left(holder.session_id)

    async def locate(self, canonical_name: str) -> Located:
        """Return the node of a name and the presence of its user.

        Raises Unavailable, also if the server that was asked is known to be behind.
        """
        holder = await self._find(self.keys.place(canonical_name))
        if holder is not None and self._outdated(holder):
            raise Unavailable("another server has replaced the one that was asked")
        if holder is None or await self._vacant(holder):
            return Located(Presence.OFFLINE)
        if holder.body.away or await self.node_liveness.lapsed(holder.node_id) is not None:
            return Located(Presence.AWAY, holder.node_id)
        return Located(Presence.BUSY if holder.body.chat or holder.body.calling else Presence.FREE, holder.node_id)

    async def save(self, canonical_name: str, session_id: str, fencing_token: int, body: SessionRecord) -> int:
        """Write the session's own record, also if Redis has lost it. Return the fencing token.

        Raises NameLost if another session owns the name.
        """
        place = self.keys.place(canonical_name)
        answer = await self._redis_client.script(
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
            self._delegate.partitions_lost(place.partition)
        return self._fence(answer[1])

    async def release(self, canonical_name: str, session_id: str) -> None:
        """Release a name if this session owns it."""
        place = self.keys.place(canonical_name)
        await self._redis_client.script(_RELEASE, place.key, place.field, self.lease.node_id, session_id)

    def _read(self, raw: bytes, place: RecordKey) -> Record | None:
        try:
            holder = record.decode(raw)
        except BadRecord as error:
            log.warning("unreadable record", key=place.key, field=place.field, error=str(error))
            return None
        self.know(holder.fencing_token)
        return holder

    def _fence(self, raw: bytes) -> int:
        fencing_token = int(raw)
        self.know(fencing_token)
        return fencing_token

    @property
    def crowded(self) -> bool:
        """Whether calls queue up at a Redis that answers, so that nothing but waiting helps."""
        return self._redis_client.crowded

    @property
    def latency(self) -> float:
        """The network round trip to Redis in seconds; 0 while unknown."""
        return self._redis_client.latency

    @property
    def highest(self) -> int:
        """The highest fencing token that this node knows of."""
        return self._highest

    def know(self, fencing_token: int) -> None:
        """Note a fencing token of any owner, so that a server with an older clock or data grants no lower ones."""
        if fencing_token <= FENCE_MAX:
            self._highest = max(self._highest, fencing_token)

    async def found(self, alone: Callable[[], Awaitable[bool]]) -> None:
        """Make the missing partitions, at the first start of a cluster or after Redis has lost data.

        `await alone()` returns whether no other node has users; then claims needn't wait. Partitions of a server that
        doesn't answer are left to `data_loss.watch`. Raises Unavailable if no server answers.
        """
        keys = {self.keys.partition(number): number for number in range(self.keys.partitions)}
        there = dict(zip(keys, await self._redis_client.each(("HEXISTS", key, "@") for key in keys), strict=True))
        missing = [key for key, exists in there.items() if exists == 0]
        if all(isinstance(exists, Unavailable) for exists in there.values()):
            raise Unavailable("no part of the directory can be asked for")
        if not missing:
            return
        empty = await alone()
        log.info("directory founded", partitions=len(missing), empty=empty)
        made = await self._redis_client.scripts(_FOUND, missing, int(empty), self._ttl)
        if not empty:
            self._delegate.partitions_lost(*(keys[key] for key, (done, *_) in zip(missing, made, strict=True) if done))

    async def tidy(self, partitions: Iterable[int]) -> None:
        """Drop dead records from partitions that lost data, as a server with older data may have some.

        Those of sessions that have just left this node come last: the server may be the one that was replaced.
        """
        with suppress(Unavailable):
            again = [number for number in partitions if await self._visit(self.keys.partition(number))]
            if again:
                await anyio.sleep(REPLACED_SERVER_SECONDS)
            for number in again:
                await self._visit(self.keys.partition(number))

    async def sweep(self) -> None:
        """Visit one partition after another until cancelled: refresh its TTL, and drop the records of dead nodes."""
        number = crc32(self.lease.node_id.encode()) % self.keys.partitions
        while True:
            await anyio.sleep(SWEEP_SECONDS)
            number = (number + 1) % self.keys.partitions
            try:
                await self._visit(self.keys.partition(number))
            except Unavailable as error:
                log.debug("sweep put off", error=str(error))

    async def _visit(self, key: str) -> bool:
        """Drop the records of dead nodes. Return whether there is one of a session that has just left this node."""
        await self._redis_client.call("PEXPIRE", key, self._ttl)
        cursor, outdated = 0, False
        while True:
            cursor, fields = await self._redis_client.call("HSCAN", key, cursor, "COUNT", SWEEP_RECORDS)
            for field, raw in fields.items():
                try:
                    holder = record.decode(raw)
                except BadRecord:
                    continue  # the epoch, or a record of another version
                self.know(holder.fencing_token)
                if self._outdated(holder):
                    outdated = True
                elif await self._vacant(holder):
                    await self._redis_client.script(_RELEASE, key, field, holder.node_id, holder.session_id)
            if not int(cursor):
                return outdated


def moved(holder: Record) -> SessionRecord:
    """Return the body of the session that this one becomes on another node."""
    former = FormerSession(holder.session_id, holder.body.returns)
    return msgspec.structs.replace(holder.body, away=False, calling=False, returns=0, former=former)


def _shows(holder: Record, token_hash: str) -> bool:
    return hmac.compare_digest(holder.body.token, token_hash)
