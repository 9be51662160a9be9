"""The client of Redis, for every kind of installation. It doesn't know what a record, a lease or a frame means."""

from pathlib import Path

from relay.configuration import redis_url
from relay.configuration.redis_url import Kind
from relay.redis_client.cluster import Cluster
from relay.redis_client.sentinel import Sentinels
from relay.redis_client.standalone import Server
from relay.redis_client.topology_interface import Topology


def engine(url: str, password_file: Path | None = None) -> Topology:
    """Return the topology for a URL. Raises BadUrl, and ConfigError if a file can't be used."""
    said = redis_url.parse(url)
    match said.kind:
        case Kind.CLUSTER:
            return Cluster(said, password_file)
        case Kind.SENTINEL:
            return Sentinels(said, password_file)
        case Kind.SERVER:
            return Server(said, password_file)
