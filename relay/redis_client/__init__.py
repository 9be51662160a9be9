"""The way to Redis, whatever kind of installation it is. Nothing of what the relay keeps there is known here."""

from urllib.parse import urlsplit

from relay.redis_client.cluster import Cluster
from relay.redis_client.sentinel import Sentinels
from relay.redis_client.single import Server
from relay.redis_client.topology import Engine


def engine(url: str) -> Engine:
    """The engine that a URL stands for."""
    match urlsplit(url).scheme:
        case "redis+cluster":
            return Cluster(url)
        case "redis+sentinel":
            return Sentinels(url)
        case _:
            return Server.at(url)
