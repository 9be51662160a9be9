"""This module reads files that a user names, with limits: one may be an endless device, or a pipe without a writer."""

import errno
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# The limit for settings, a token or certificates. All certificates that the system trusts take a quarter of it.
MAX_FILE_BYTES: Final = 1_048_576
# Seconds to read a pipe, whose writer may be a program that has to ask the user first.
PIPE_SECONDS: Final = 10.0


def read_file(path: Path, limit: int = MAX_FILE_BYTES, patience: float | None = None) -> bytes:
    """Return the content of a file, or of a pipe that ends within `patience` seconds (default: PIPE_SECONDS).

    Raises OSError, also for a file that is longer than `limit` bytes or doesn't end in time.
    """
    # Without O_NONBLOCK, opening a pipe would block until there is a writer.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = _read(fd, limit + 1, time.monotonic() + (PIPE_SECONDS if patience is None else patience))
    finally:
        os.close(fd)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit} bytes")
    return content


def _read(fd: int, limit: int, deadline: float) -> bytes:
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    content = bytearray()
    while len(content) < limit:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise OSError(errno.EAGAIN, "what writes there does not come to an end")
        piece = os.read(fd, limit - len(content))
        if not piece:
            break
        content += piece
    return bytes(content)


@contextmanager
def bounded(path: Path) -> Iterator[Path]:
    """Yield a path to the bounded content of a file, because OpenSSL reads without a limit.

    Raises OSError as `read_file` does.
    """
    content = read_file(path)
    if path.is_file():
        yield path
        return
    if sys.platform != "linux":
        raise OSError(errno.EINVAL, "it has to be a file")
    with os.fdopen(os.memfd_create("pairchat"), "wb") as copy:  # a pipe can be read only once
        copy.write(content)
        copy.flush()
        yield Path(f"/proc/self/fd/{copy.fileno()}")
