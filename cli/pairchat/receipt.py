"""This module has the receipt that `Chat.send` returns."""

from pairchat.errors import NotConfirmed, Refused
from pairchat.events import DeliveryStatus, Outgoing
from pairchat.reconnector import Reconnector


class Receipt:
    """The outcome of one text, as `Chat.send` returns it."""

    def __init__(self, link: Reconnector, text: Outgoing) -> None:
        self._link = link
        self._text = text

    @property
    def id(self) -> int:
        """The id of the text in this session. It may still become a little smaller while the text is pending."""
        return self._text.id

    @property
    def text(self) -> str:
        """The text that was sent."""
        return self._text.text

    @property
    def fate(self) -> DeliveryStatus:
        """The outcome of the text, which is PENDING until it is known."""
        return self._text.fate

    @property
    def outgoing(self) -> Outgoing:
        """The record of the text. The library keeps it up to date."""
        return self._text

    async def delivered(self) -> str:
        """Wait for the acknowledgement, and return the side that gave it.

        `client` means that the partner's program has the text. `node` means that the partner's node has written it to
        a connection of a client that does not acknowledge.

        It raises `NotConfirmed` if no acknowledgement will come, `Refused` if the node did not accept the text, and
        `ConnectionLost` if the connection is gone for good, so that the outcome stays unknown.
        """
        text = self._text
        await self._link.until(lambda: text.fate is not DeliveryStatus.PENDING)
        if text.fate is DeliveryStatus.UNCONFIRMED:
            raise NotConfirmed(text.detail)
        if text.fate is DeliveryStatus.REFUSED:
            raise Refused(text.detail, f"the relay refused the text ({text.detail})")
        return text.by
