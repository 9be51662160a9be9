"""Opening a connection."""

import os

import anyio
from anyio.abc import ByteStream

from pairchat.address import Address
from pairchat.errors import ConnectionFailed


async def dial(address: Address, patience: float) -> ByteStream:
    """A connection within `patience` seconds, or `ConnectionFailed` in the words of the system."""
    try:
        with anyio.fail_after(patience):
            return await anyio.connect_tcp(address.host, address.port)
    except TimeoutError:
        raise ConnectionFailed(f"{address} does not answer") from None
    except OSError as error:
        raise ConnectionFailed(f"can't connect to {address}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The words of the system, from inside what trying several addresses wraps around them."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts words of its own into `strerror`
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
