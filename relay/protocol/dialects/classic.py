"""The classic dialect, for the unchanged original client: the replies of the text dialect without line ends.

Each reply must be a separate write: nothing separates two replies, so the client would read them as one.
"""

from typing import Final

from relay.protocol.commands_and_events import Paired
from relay.protocol.dialects.text import TELL, TextDialect

# The original server said nothing when a chat began, and its client would take a notice for a reply.
CLASSIC: Final = TextDialect({**TELL, Paired: lambda _: ""}, "")
