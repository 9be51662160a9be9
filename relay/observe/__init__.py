"""Observability of a node: metrics, HTTP probes, and the status report that it writes to Redis."""
