"""Helpers for asyncio tasks: a worker pool, restarts, blocking calls, and long loops that yield to other tasks."""
