"""Helpers for asyncio's tasks: pools, restarts, blocking calls, and long loops that give others their turn."""
