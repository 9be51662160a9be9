"""The classic dialect: the original client, which knows no line ends, unchanged. The text dialect's words, bare.

A reply must be one write of its own: with nothing between them, two gathered replies would be one to the client.
"""

from typing import Final

from relay.protocol.dialects.text import TELL, TextDialect
from relay.protocol.events import Paired

# The original server said nothing when a chat began, and its client would take a notice for a reply.
CLASSIC: Final = TextDialect({**TELL, Paired: lambda _: ""}, "")
