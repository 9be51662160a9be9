"""Two programs that talk to each other with the real client library, over whatever node they reach."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Final

import anyio

import pairchat
from pairchat.events import DeliveryStatus, Message
from pairchat.receipt import Receipt
from relay.tools.testbed.waiting import until

PACE_SECONDS: Final = 0.2  # between two texts, on average, of a plan without calm
RETRY_SECONDS: Final = (0.1, 0.5)
SERIAL: Final = "/"


class Correspondent:
    """One of the two. `said` has the receipts of all its texts, and `heard` what the other one said."""

    def __init__(
        self,
        name: str,
        partner: str,
        servers: Sequence[str],
        rng: Random,
        acting: Callable[[], bool],
        *,
        calls: bool,
        calm: float,
    ) -> None:
        self.name = name
        self.said: list[Receipt] = []
        self.heard: list[str] = []
        self.sessions = 0  # that began
        self.failures: Counter[str] = Counter()  # that ended a session, by the words for them
        self._partner, self._servers, self._rng, self._acting, self._calls = partner, servers, rng, acting, calls
        self._pace = PACE_SECONDS * calm
        self._live: list[Receipt] = []  # those of the session that goes on
        self._chat: pairchat.Chat | None = None

    @property
    def settled(self) -> bool:
        """Whether it is connected, and each text of this session has its outcome."""
        pending = any(receipt.fate is DeliveryStatus.PENDING for receipt in self._live)
        return self._chat is not None and self._chat.online and not pending

    async def run(self) -> None:
        """Begin one session after another, until cancelled."""
        while True:
            try:
                async with pairchat.connect(*self._servers, name=self.name) as chat:
                    self.sessions += 1
                    self._chat, self._live = chat, []
                    await self._live_on(chat)
            except pairchat.PairchatError as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1
            self._chat = None
            await anyio.sleep(self._rng.uniform(*RETRY_SECONDS))

    async def _live_on(self, chat: pairchat.Chat) -> None:
        errors: list[pairchat.PairchatError] = []
        async with anyio.create_task_group() as tasks:

            async def guarded(do: Callable[[pairchat.Chat], object]) -> None:
                try:
                    await do(chat)  # type: ignore[misc]
                except pairchat.PairchatError as error:
                    errors.append(error)
                tasks.cancel_scope.cancel()

            tasks.start_soon(guarded, self._listen)
            tasks.start_soon(guarded, self._talk)
        if errors:
            raise errors[0]

    async def _listen(self, chat: pairchat.Chat) -> None:
        async for event in chat:
            if isinstance(event, Message) and event.sender == self._partner:
                self.heard.append(event.text)

    async def _talk(self, chat: pairchat.Chat) -> None:
        while True:
            await anyio.sleep(self._rng.expovariate(1 / self._pace))
            if not self._acting():
                await until(self._acting)
            try:
                if chat.partner == self._partner:
                    receipt = await chat.send(f"{self.name}{SERIAL}{len(self.said)}")
                    self.said.append(receipt)
                    self._live.append(receipt)
                elif self._calls:
                    await chat.call(self._partner)
            except pairchat.Refused:
                await anyio.sleep(self._rng.uniform(*RETRY_SECONDS))


def wrong(one: Correspondent, other: Correspondent) -> list[str]:
    """Return what one of them was told of its texts, or the other heard of them, that isn't so."""
    times, numbers = Counter(other.heard), [int(text.partition(SERIAL)[2]) for text in other.heard]
    said = {receipt.text for receipt in one.said}
    return [
        *(f"{other.name} heard {text} {count} times" for text, count in times.items() if count > 1),
        *(f"{other.name} heard {text}, which nobody said" for text in times if text not in said),
        *(
            f"{other.name} heard {one.name}{SERIAL}{late} after {one.name}{SERIAL}{early}"
            for early, late in pairwise(numbers)
            if late < early
        ),
        *(
            f"{receipt.text} was acknowledged, and {other.name} never heard it"
            for receipt in one.said
            if receipt.fate is DeliveryStatus.DELIVERED and receipt.text not in times
        ),
    ]
