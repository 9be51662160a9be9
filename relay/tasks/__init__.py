"""Helpers for asyncio's tasks: pools, restarts, and long loops that give others their turn."""
