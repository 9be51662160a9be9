"""The window of messages to a partner that have no outcome yet, kept as runs because most come and go in runs."""

from collections.abc import Iterable, Iterator

from msgspec import Struct


def size(text: str) -> int:
    """Return the length of the text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class Run(Struct, gc=False):
    """Messages with consecutive ids from `id` on, said at the same time. `bytes` is the size of all their texts."""

    id: int
    texts: list[str]
    bytes: int
    at: float

    @property
    def last(self) -> int:
        """The highest id."""
        return self.id + len(self.texts) - 1

    def cut(self, upto: int) -> "Run":
        """Remove and return the messages up to the id `upto`, which must be some of the run but not all of it."""
        count = upto - self.id + 1
        texts = self.texts[:count]
        taken = Run(self.id, texts, size("".join(texts)), self.at)
        self.id, self.texts, self.bytes = upto + 1, self.texts[count:], self.bytes - taken.bytes
        return taken


class UnackedMessages:
    """The messages that have no acknowledgement yet, in the order of their ids. The caller enforces the bounds."""

    __slots__ = ("bytes", "count", "runs")

    def __init__(self) -> None:
        self.runs: list[Run] = []  # a list, because an empty deque would cost 0.7 KB; there are few runs
        self.bytes = 0
        self.count = 0  # messages

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((id, text) for id, text, _ in self._messages())

    def _messages(self) -> Iterator[tuple[int, str, float]]:
        for run in self.runs:
            for id, text in enumerate(run.texts, run.id):
                yield id, text, run.at

    def add_one(self, id: int, text: str, at: float) -> None:
        """Add one message, as `add` would but faster."""
        n = len(text) if text.isascii() else len(text.encode())
        runs = self.runs
        if runs and (run := runs[-1]).at == at and id == run.id + len(run.texts):
            run.texts.append(text)
            run.bytes += n
        else:
            runs.append(Run(id, [text], n, at))
        self.bytes += n
        self.count += 1

    def add(self, id: int, texts: list[str], at: float) -> None:
        """Add messages with consecutive ids from `id` on, said at the Unix time `at`."""
        n = size(texts[0]) if len(texts) == 1 else size("".join(texts))
        runs = self.runs
        if runs and runs[-1].at == at and id == (run := runs[-1]).id + len(run.texts):
            run.texts += texts
            run.bytes += n
        else:
            runs.append(Run(id, texts.copy(), n, at))
        self.bytes += n
        self.count += len(texts)

    def find(self, id: int) -> str | None:
        """Return the text of this id, or None if the window doesn't hold it."""
        return next((run.texts[id - run.id] for run in self.runs if run.id <= id <= run.last), None)

    def pop_upto(self, upto: int) -> list[Run]:
        """Remove and return the messages up to the id `upto`."""
        runs = self.runs
        if runs and (run := runs[-1]).id + len(run.texts) <= upto + 1:  # mostly this is everything
            self.runs, self.bytes, self.count = [], 0, 0
            return runs
        taken: list[Run] = []
        for run in runs:
            if run.id > upto:
                break
            taken.append(run)
        del runs[: len(taken)]
        if taken and (run := taken[-1]).last > upto:
            taken[-1] = run.cut(upto)
            runs.insert(0, run)
        for run in taken:
            self.bytes -= run.bytes
            self.count -= len(run.texts)
        return taken

    def between(self, after: int, upto: int) -> int:
        """Return the bytes of the messages with ids above `after`, up to `upto`."""
        total = 0
        for run in self.runs:
            if after < run.id and run.last <= upto:
                total += run.bytes
            elif after < run.last and run.id <= upto:
                total += size("".join(run.texts[max(0, after + 1 - run.id) : upto + 1 - run.id]))
        return total

    def next(self, after: int, room: int) -> tuple[list[tuple[int, str, float]], bool]:
        """Return the first messages with ids above `after` that begin within `room` bytes, and whether more follow."""
        found: list[tuple[int, str, float]] = []
        for message in self._messages():
            if message[0] > after:
                if room <= 0:
                    return found, True
                room -= size(message[1])
                found.append(message)
        return found, False

    def pop_all(self) -> list[Run]:
        """Remove and return all messages."""
        return self.pop_upto(self.runs[-1].last) if self.runs else []


def joined(runs: Iterable[Run]) -> Iterator[tuple[int, list[str]]]:
    """Yield the first id and the texts of each range of consecutive ids, for an `unconfirmed`, which has no times."""
    id, texts = 0, list[str]()
    for run in runs:
        if texts and run.id == id + len(texts):
            texts += run.texts
            continue
        if texts:
            yield id, texts
        id, texts = run.id, run.texts.copy()
    if texts:
        yield id, texts
