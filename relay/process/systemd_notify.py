"""Tells a service manager how far this process is: sd_notify(3), for systemd's `Type=notify`. Without one: nothing."""

import os
import socket
import time
from contextlib import suppress
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
# The manager reads at once. One that doesn't must not hold a node up.
_PATIENCE_SECONDS: Final = 1.0


def managed() -> bool:
    """Whether there is one. To it SIGHUP means that files are to be read again, and nothing else."""
    return _address() is not None


def ready(status: str) -> None:
    """It serves, from its start or again after a reload. `status` is what `systemctl status` shows."""
    _tell(f"READY=1\nSTATUS={status}")


def reloading() -> None:
    """It reads its files again; `ready` follows."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """It ends, as it was told."""
    _tell("STOPPING=1\nSTATUS=draining")


def _tell(states: str) -> None:
    address = _address()
    if address is None:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_PATIENCE_SECONDS)
        # An @ stands for the null byte of Linux's abstract sockets.
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.send(states.encode())


def _address() -> str | None:
    address = os.environ.get(VARIABLE, "")
    return address if address.startswith(("/", "@")) else None
