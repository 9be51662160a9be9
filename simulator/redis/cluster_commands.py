"""The commands with which clients ask a member for its view of the cluster, and ASKING."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from simulator.redis.commands import Commands, Handler
from simulator.redis.replies import OK, CommandError, Text
from simulator.redis.slots import SLOTS, slot_of
from simulator.redis.words import integer

if TYPE_CHECKING:
    from simulator.redis.connection import ClientConnection
    from simulator.redis.member import ClusterMember, Peer
    from simulator.redis.server import Server

CLUSTER: Final = Commands()

MemberHandler: TypeAlias = Callable[["ClusterMember", list[bytes]], object]
_DISABLED: Final = "ERR This instance has cluster support disabled"
_BUS: Final = 10_000  # added to a port for that of the cluster's own messages


def _add(name: str, arity: int) -> Callable[[MemberHandler], MemberHandler]:
    """Return a decorator that adds a command which members of a cluster carry out."""

    def add(run: MemberHandler) -> MemberHandler:
        def handle(client: "ClientConnection", words: list[bytes]) -> object:
            return run(_member(client), words)

        handler: Handler = handle
        CLUSTER.add(name, arity, loading=True, stale=True)(handler)
        return run

    return add


def _member(client: "ClientConnection") -> "ClusterMember":
    member = cast("Server", client.server).cluster
    if member is None:
        raise CommandError(_DISABLED)
    return member


@CLUSTER.add("asking", 1)
def _asking(client: "ClientConnection", words: list[bytes]) -> object:
    _member(client)
    client.asking = True
    return OK


@_add("cluster myid", 2)
def _myid(member: "ClusterMember", words: list[bytes]) -> object:
    return member.id.encode()


@_add("cluster keyslot", 3)
def _keyslot(member: "ClusterMember", words: list[bytes]) -> object:
    return slot_of(words[2])


def _keys_in(member: "ClusterMember", word: bytes) -> list[bytes]:
    slot = integer(word, "ERR Invalid or out of range slot")
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid slot")
    return [key for key in member.server.databases[0].names() if slot_of(key) == slot]


@_add("cluster countkeysinslot", 3)
def _count_keys(member: "ClusterMember", words: list[bytes]) -> object:
    return len(_keys_in(member, words[2]))


@_add("cluster getkeysinslot", 4)
def _get_keys(member: "ClusterMember", words: list[bytes]) -> object:
    return _keys_in(member, words[2])[: integer(words[3])]


@_add("cluster slots", 2)
def _slots(member: "ClusterMember", words: list[bytes]) -> object:
    """Return a row for each range of slots: first, last, the primary, and its replicas that haven't failed."""
    rows = []
    for id in member.owners.owners:
        peers = member.peers.values()
        replicas = [peer for peer in peers if peer.primary == id and peer.failed is None]
        servers = [[peer.host, peer.port, peer.id.encode(), []] for peer in (member.peers[id], *replicas)]
        rows += [[first, last, *servers] for first, last in member.owners.ranges(id)]
    return sorted(rows, key=lambda row: cast(int, row[0]))


@_add("cluster nodes", 2)
def _nodes(member: "ClusterMember", words: list[bytes]) -> object:
    return Text("".join(f"{_described(member, peer)}\n" for peer in member.peers.values()).encode())


def _described(member: "ClusterMember", peer: "Peer") -> str:
    """Return a member's line in the answer to CLUSTER NODES."""
    flags = ["myself"] if peer.id == member.id else []
    flags.append("master" if peer.primary is None else "slave")
    if peer.failed is not None:
        flags.append("fail")
    elif peer.silent:
        flags.append("fail?")
    words = [
        peer.id,
        f"{peer.host.decode()}:{peer.port}@{peer.port + _BUS}",
        ",".join(flags),
        peer.primary or "-",
        "0",
        "0",
        str(member.peers[peer.primary or peer.id].epoch),
        "disconnected" if peer.silent else "connected",
        *(str(first) if first == last else f"{first}-{last}" for first, last in member.owners.ranges(peer.id)),
    ]
    if peer.id == member.id:
        words += [f"[{slot}->-{id}]" for slot, id in member.migrating.items()]
        words += [f"[{slot}-<-{id}]" for slot, id in member.importing.items()]
    return " ".join(words)


@_add("cluster info", 2)
def _info(member: "ClusterMember", words: list[bytes]) -> object:
    peers, owners = member.peers, member.owners.owners
    failed = sum(member.owners.count(id) for id in owners if peers[id].failed is not None)
    silent = sum(member.owners.count(id) for id in owners if peers[id].silent and peers[id].failed is None)
    assigned = sum(member.owners.count(id) for id in owners)
    fields = {
        "state": "ok" if member.well else "fail",
        "slots_assigned": assigned,
        "slots_ok": assigned - failed - silent,
        "slots_pfail": silent,
        "slots_fail": failed,
        "known_nodes": len(peers),
        "size": len(owners),
        "current_epoch": member.epoch,
        "my_epoch": peers[member.me.primary or member.id].epoch,
    }
    return Text("".join(f"cluster_{name}:{value}\r\n" for name, value in fields.items()).encode())


@_add("cluster shards", 2)
def _shards(member: "ClusterMember", words: list[bytes]) -> object:
    """Return each shard: its slots, and its members."""
    return [
        {
            b"slots": [bound for pair in member.owners.ranges(primary.id) for bound in pair],
            b"nodes": [_node(member, peer) for peer in member.peers.values() if primary.id in (peer.id, peer.primary)],
            b"id": primary.id.encode(),
        }
        for primary in member.peers.values()
        if primary.primary is None
    ]


def _node(member: "ClusterMember", peer: "Peer") -> dict[object, object]:
    return {
        b"id": peer.id.encode(),
        b"port": peer.port,
        b"ip": peer.host,
        b"endpoint": peer.host,
        b"role": b"master" if peer.primary is None else b"replica",
        b"replication-offset": member.member(peer.id).server.replication.offset,
        b"health": b"online" if peer.failed is None else b"fail",
    }
