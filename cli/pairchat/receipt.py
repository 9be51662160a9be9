"""What `Chat.send` returns."""

from pairchat.errors import NotConfirmed, Refused
from pairchat.events import Fate, Outgoing
from pairchat.link import Link


class Receipt:
    """What becomes of one text."""

    def __init__(self, link: Link, text: Outgoing) -> None:
        self._link = link
        self._text = text

    @property
    def id(self) -> int:
        """The text's id in this session. It may still fall by a few while the text is pending."""
        return self._text.id

    @property
    def text(self) -> str:
        """What was said."""
        return self._text.text

    @property
    def fate(self) -> Fate:
        """What is known by now."""
        return self._text.fate

    @property
    def outgoing(self) -> Outgoing:
        """All that is known, kept up to date."""
        return self._text

    async def delivered(self) -> str:
        """Wait for the acknowledgement. Returns who gave it: `client` (the partner's program has the text) or `node`.

        Raises `NotConfirmed`, `Refused`, or `ConnectionLost`: then nobody knows.
        """
        text = self._text
        await self._link.until(lambda: text.fate is not Fate.PENDING)
        if text.fate is Fate.UNCONFIRMED:
            raise NotConfirmed(text.detail)
        if text.fate is Fate.REFUSED:
            raise Refused(text.detail, f"the relay refused the text ({text.detail})")
        return text.by
