"""A model of Redis: servers that speak RESP, run the relay's real Lua scripts and break when they are told to.

Everything is synchronous, in memory and without a clock of its own, so that a simulation can put it on a virtual
network. What it answers is what Valkey answers: tests/simulator/redis/test_against_valkey.py compares both.
"""

from simulator.redis.cluster import Cluster
from simulator.redis.connection import ClientConnection
from simulator.redis.sentinel import Sentinel, Sentinels
from simulator.redis.server import Server, Snapshot

__all__ = ["ClientConnection", "Cluster", "Sentinel", "Sentinels", "Server", "Snapshot"]
