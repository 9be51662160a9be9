"""Keeps the real world out of a simulation, and gives libraries the virtual one instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def guarded(world: Any) -> Iterator[None]:
    """To do."""
    yield
