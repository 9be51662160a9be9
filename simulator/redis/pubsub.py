"""Channels and their subscribers: ordinary channels, patterns, and those of sharded pub/sub."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Final

from simulator.redis.commands import Commands, all_keys, first_key
from simulator.redis.patterns import compiled
from simulator.redis.replies import NOTHING

if TYPE_CHECKING:
    from simulator.redis.connection import ClientConnection

SUBSCRIPTIONS: Final = Commands()
PUBSUB: Final = Commands()  # those that sentinels don't have


class Kind(Enum):
    """The three kinds of subscriptions. The value is the prefix of their commands and messages."""

    CHANNEL = b""
    PATTERN = b"p"
    SHARD = b"s"


class Channels:
    """The subscribers of each channel and pattern of a server, in the order in which they subscribed."""

    def __init__(self) -> None:
        self.subscribers: dict[Kind, dict[bytes, dict[ClientConnection, None]]] = {kind: {} for kind in Kind}

    def subscribe(self, client: "ClientConnection", kind: Kind, name: bytes) -> None:
        """Subscribe a client, which is told so."""
        client.subscriptions[kind][name] = None
        self.subscribers[kind].setdefault(name, {})[client] = None
        client.push([kind.value + b"subscribe", name, _count(client, kind)])

    def unsubscribe(self, client: "ClientConnection", kind: Kind, name: bytes | None) -> None:
        """End a subscription, which the client may not have, and tell it so."""
        if name is not None:
            self._forget(client, kind, name)
        client.push([kind.value + b"unsubscribe", name, _count(client, kind)])

    def leave(self, client: "ClientConnection") -> None:
        """End all subscriptions of a client without a word: it is gone, or has said RESET."""
        for kind, names in client.subscriptions.items():
            for name in list(names):
                self._forget(client, kind, name)

    def drop_shards(self, lost: Callable[[bytes], bool]) -> None:
        """End the subscriptions of sharded channels that this server doesn't serve any more, and tell the clients."""
        for name in [name for name in self.subscribers[Kind.SHARD] if lost(name)]:
            for client in list(self.subscribers[Kind.SHARD][name]):
                self.unsubscribe(client, Kind.SHARD, name)

    def _forget(self, client: "ClientConnection", kind: Kind, name: bytes) -> None:
        client.subscriptions[kind].pop(name, None)
        there = self.subscribers[kind].get(name, {})
        there.pop(client, None)
        if not there:
            self.subscribers[kind].pop(name, None)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Deliver a message to the subscribers of a channel, and of patterns that match it. Return their number."""
        receivers = [*self.subscribers[Kind.CHANNEL].get(channel, ())]
        for client in receivers:
            client.deliver([b"message", channel, message])
        count = len(receivers)
        for pattern, clients in list(self.subscribers[Kind.PATTERN].items()):
            if compiled(pattern).fullmatch(channel):
                for client in list(clients):
                    client.deliver([b"pmessage", pattern, channel, message])
                    count += 1
        return count

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        """Deliver a message to the subscribers of a sharded channel. Return their number."""
        receivers = [*self.subscribers[Kind.SHARD].get(channel, ())]
        for client in receivers:
            client.deliver([b"smessage", channel, message])
        return len(receivers)

    def names(self, kind: Kind, patterns: list[bytes]) -> list[object]:
        """Return the channels that have subscribers, and match a pattern if there is one."""
        return [name for name in self.subscribers[kind] if not patterns or compiled(patterns[0]).fullmatch(name)]

    def numbers(self, kind: Kind, names: Iterable[bytes]) -> list[object]:
        """Return the number of subscribers behind the name of each channel."""
        return [word for name in names for word in (name, len(self.subscribers[kind].get(name, ())))]


def _count(client: "ClientConnection", kind: Kind) -> int:
    """Return how many subscriptions a client has: channels and patterns are counted together."""
    if kind is Kind.SHARD:
        return len(client.subscriptions[kind])
    return len(client.subscriptions[Kind.CHANNEL]) + len(client.subscriptions[Kind.PATTERN])


def _subscribe(kind: Kind) -> Callable[["ClientConnection", list[bytes]], object]:
    def run(client: "ClientConnection", words: list[bytes]) -> object:
        for name in words[1:]:
            client.server.channels.subscribe(client, kind, name)
        return NOTHING

    return run


def _unsubscribe(kind: Kind) -> Callable[["ClientConnection", list[bytes]], object]:
    def run(client: "ClientConnection", words: list[bytes]) -> object:
        names: list[bytes | None] = [*(words[1:] or client.subscriptions[kind])]
        for name in names or [None]:
            client.server.channels.unsubscribe(client, kind, name)
        return NOTHING

    return run


def _add_subscriptions() -> None:
    for kind in Kind:
        keys, shard = (all_keys, True) if kind is Kind.SHARD else (None, False)
        table = PUBSUB if kind is Kind.SHARD else SUBSCRIPTIONS
        prefix = kind.value.decode()
        table.add(
            f"{prefix}subscribe",
            -2,
            keys=keys,
            shard_channel=shard,
            in_scripts=False,
            stale=True,
            loading=True,
            while_subscribed=True,
        )(_subscribe(kind))
        table.add(
            f"{prefix}unsubscribe",
            -1,
            keys=keys,
            shard_channel=shard,
            in_scripts=False,
            stale=True,
            loading=True,
            while_subscribed=True,
        )(_unsubscribe(kind))


_add_subscriptions()


@PUBSUB.add("publish", 3, stale=True, loading=True, waits_for_writes=True)
def _publish(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.publish(words[1], words[2])


@PUBSUB.add("spublish", 3, keys=first_key, shard_channel=True, stale=True, loading=True, waits_for_writes=True)
def _spublish(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.publish_shard(words[1], words[2])


@PUBSUB.add("pubsub channels", -2, stale=True, loading=True)
def _channels(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.channels.names(Kind.CHANNEL, words[2:])


@PUBSUB.add("pubsub shardchannels", -2, stale=True, loading=True)
def _shard_channels(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.channels.names(Kind.SHARD, words[2:])


@PUBSUB.add("pubsub numsub", -2, stale=True, loading=True)
def _numsub(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.channels.numbers(Kind.CHANNEL, words[2:])


@PUBSUB.add("pubsub shardnumsub", -2, stale=True, loading=True)
def _shard_numsub(client: "ClientConnection", words: list[bytes]) -> object:
    return client.server.channels.numbers(Kind.SHARD, words[2:])


@PUBSUB.add("pubsub numpat", 2, stale=True, loading=True)
def _numpat(client: "ClientConnection", words: list[bytes]) -> object:
    return len(client.server.channels.subscribers[Kind.PATTERN])
