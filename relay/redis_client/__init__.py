"""The way to Redis, whatever kind of installation it is. What a record, a lease or a frame means isn't known here."""

from pathlib import Path

from relay import redis_url
from relay.redis_client.cluster import Cluster
from relay.redis_client.sentinel import Sentinels
from relay.redis_client.standalone import Server
from relay.redis_client.topology import Topology
from relay.redis_url import Kind


def engine(url: str, password_file: Path | None = None) -> Topology:
    """The engine that a URL stands for. Raises BadUrl, and ConfigError where a file can't be used."""
    said = redis_url.parse(url)
    match said.kind:
        case Kind.CLUSTER:
            return Cluster(said, password_file)
        case Kind.SENTINEL:
            return Sentinels(said, password_file)
        case Kind.SERVER:
            return Server(said, password_file)
