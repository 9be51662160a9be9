"""What a server says of itself (INFO), as values by their names."""

from typing import Any


def parsed(text: str | bytes) -> dict[str, Any]:
    """The fields of all sections; those that hold fields of their own (`slave0:ip=…,port=…`) as a dict of them."""
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    fields: dict[str, Any] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            pairs = [part.partition("=") for part in value.split(",")]
            whole = all(equals for _, equals, _ in pairs)
            fields[name] = {key: its for key, _, its in pairs} if whole else value
    return fields
