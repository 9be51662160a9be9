"""Notifies a service manager of this process's state with sd_notify(3), for systemd's `Type=notify`.

Without a service manager the functions do nothing.
"""

import os
import socket
import time
from contextlib import suppress
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
# The service manager reads at once. One that doesn't must not block a node.
_PATIENCE_SECONDS: Final = 1.0


def managed() -> bool:
    """Return whether there is a service manager, which uses SIGHUP only to have files reloaded."""
    return _address() is not None


def ready(status: str) -> None:
    """Report that this process serves, after its start or a reload. `systemctl status` shows `status`."""
    _tell(f"READY=1\nSTATUS={status}")


def reloading() -> None:
    """Report that this process reloads its files. Call `ready` afterwards."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """Report that this process ends on request."""
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
