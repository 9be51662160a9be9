"""Sockets, independent of the relay: ports, TLS, the PROXY protocol, descriptor limits and TCP health."""
