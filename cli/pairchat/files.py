"""Files that a user names: one may be a device without end, or a pipe that nobody fills, so what is read is bounded."""

import errno
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Of settings, a token, or certificates: what the system trusts, all together, is a quarter of this.
MAX_FILE_BYTES: Final = 1_048_576
# A pipe in the place of such a file may be filled by a program that has to ask somebody first.
PIPE_SECONDS: Final = 10.0


def read_file(path: Path, limit: int = MAX_FILE_BYTES, patience: float | None = None) -> bytes:
    """What is in a file, or in a pipe that ends within `patience` seconds, by default PIPE_SECONDS.

    Raises OSError, also with words of its own for one that is longer than `limit` bytes or doesn't end.
    """
    # Without O_NONBLOCK, opening a pipe would wait for somebody who writes.
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
    """A path to what is in a file, for OpenSSL, which would read without end. Raises OSError as `read_file` does."""
    content = read_file(path)
    if path.is_file():
        yield path
        return
    if sys.platform != "linux":
        raise OSError(errno.EINVAL, "it has to be a file")
    with os.fdopen(os.memfd_create("pairchat"), "wb") as copy:  # a pipe can be read once
        copy.write(content)
        copy.flush()
        yield Path(f"/proc/self/fd/{copy.fileno()}")
