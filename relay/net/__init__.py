"""Sockets, whatever they carry: ports, TLS, a balancer's header, limits and the health of a connection."""
