"""This module has the input line, with readline's keys, several rows, history and completion, and yes-no questions."""

from collections.abc import Callable, Iterable

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import ConditionalContainer, HSplit, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl, SearchBufferControl
from prompt_toolkit.layout.dimension import Dimension

from pairchat.escape import word
from pairchat.screen.slash_commands import COMMANDS

ROWS = 6  # the most rows that the input takes


class Question:
    """A yes-no question that the user must answer before typing on."""

    def __init__(self, words: str, answer: Callable[[bool], None]) -> None:
        self.words = words
        self.answer = answer


class InputLine:
    """The user's input. `accept` receives each line, and `typing` the unfinished line at each change."""

    def __init__(
        self, accept: Callable[[str], None], typing: Callable[[str], None], names: Callable[[], Iterable[str]]
    ) -> None:
        self.prompt = "> "
        self.question: Question | None = None
        self.buffer = Buffer(
            multiline=True,
            history=InMemoryHistory(),
            completer=_Names(names),
            on_text_changed=lambda buffer: typing(buffer.text),
        )
        self._accept = accept
        self.asked = Condition(lambda: self.question is not None)
        self.free = ~self.asked & ~is_searching  # true if keys go into the line
        search = SearchBufferControl(Buffer(multiline=False))  # Ctrl-R searches the input history
        self.control = BufferControl(self.buffer, search_buffer_control=search, preview_search=True)
        self.container = HSplit(
            [
                ConditionalContainer(
                    Window(FormattedTextControl(self._shown_question), height=Dimension(min=1, max=3), wrap_lines=True),
                    self.asked,
                ),
                ConditionalContainer(Window(search, height=1, get_line_prefix=_search_prefix), is_searching),
                Window(
                    self.control,
                    get_line_prefix=self._prefix,
                    height=Dimension(min=1, max=ROWS),
                    wrap_lines=True,
                    dont_extend_height=True,
                ),
            ]
        )

    def ask(self, words: str, answer: Callable[[bool], None]) -> None:
        """Ask a question. None may be open, and while one is, keys and pastes only answer it or do nothing."""
        assert self.question is None
        self.question = Question(words, answer)

    def reply(self, yes: bool) -> None:
        """Answer the open question."""
        question, self.question = self.question, None
        assert question is not None
        question.answer(yes)

    def send(self) -> None:
        """Pass the line to `accept`, add it to the history, and clear the input."""
        text = self.buffer.text
        if text.strip():
            self.buffer.append_to_history()
        self.buffer.reset()
        self.buffer.load_history_if_not_yet_loaded()  # the user may press Up before the next drawing loads it
        self._accept(text)

    def paste(self, data: str) -> None:
        """Insert pasted text. Several lines need a confirmation first, because they may be pasted by mistake."""
        text = data.replace("\r\n", "\n").replace("\r", "\n")
        text = text.rstrip("\n")  # the last line's end is not part of the text
        count = text.count("\n") + 1
        if count == 1:
            self.buffer.insert_text(text)
            return

        def answer(yes: bool) -> None:
            if yes:
                self.buffer.insert_text(text)

        first = word(text.strip().partition("\n")[0])[:40]
        self.ask(f"Paste {count} lines ({len(text)} characters, “{first}…”) as one text?", answer)

    def _shown_question(self) -> StyleAndTextTuples:
        words = self.question.words if self.question else ""
        return [("class:question", f" {words} "), ("class:question", "y: yes  n: no ")]

    def _prefix(self, line: int, wrapped: int) -> StyleAndTextTuples:
        if line == 0 and wrapped == 0:
            return [("class:prompt", self.prompt)]
        return [("", "  ")]


def _search_prefix(line: int, wrapped: int) -> StyleAndTextTuples:
    return [("class:prompt", "typed before: ")]


class _Names(Completer):
    """Completes commands at the beginning of the line, and known names anywhere."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Return the completions at the cursor, as prompt_toolkit wants them."""
        before = document.text_before_cursor
        command, space, rest = before.partition(" ")
        if before.startswith("/") and not space:
            return [
                Completion(name + (" " if about.argument else ""), -len(before), display=name, display_meta=about.about)
                for name, about in COMMANDS.items()
                if name.startswith(before)
            ]
        known = COMMANDS.get(command)
        if known is not None and not known.names:
            return []
        typed = rest if known else before.rpartition(" ")[2].rpartition("\n")[2]
        end = "" if known or before != typed else ": "
        return [
            Completion(name + end, -len(typed), display=word(name))
            for name in sorted(self._names())
            if typed and name.casefold().startswith(typed.casefold())
        ]


def input_line_keys(entry: InputLine) -> KeyBindings:
    """Return the bindings for Enter, Alt-Enter, Tab, paste, and the answers to questions."""
    keys = KeyBindings()
    asked, free = entry.asked, entry.free

    @keys.add("enter", filter=free)
    def _(event: KeyPressEvent) -> None:
        state = entry.buffer.complete_state
        if state is not None and state.current_completion is not None:
            entry.buffer.complete_state = None  # the completion is in the line already
            return
        entry.send()

    @keys.add("escape", "enter", filter=free)
    def _(event: KeyPressEvent) -> None:
        entry.buffer.insert_text("\n")

    @keys.add("tab", filter=free)
    def _(event: KeyPressEvent) -> None:
        if entry.buffer.complete_state:
            entry.buffer.complete_next()
        else:
            entry.buffer.start_completion(insert_common_part=True)

    @keys.add(Keys.BracketedPaste, filter=free)
    def _(event: KeyPressEvent) -> None:
        entry.paste(event.data)

    @keys.add(Keys.Any, filter=asked)
    @keys.add(Keys.BracketedPaste, filter=asked)
    @keys.add("enter", filter=asked)
    @keys.add("tab", filter=asked)
    def _(event: KeyPressEvent) -> None:
        pass  # other keys answer no question

    @keys.add("y", filter=asked, eager=True)
    @keys.add("Y", filter=asked, eager=True)
    def _(event: KeyPressEvent) -> None:
        entry.reply(True)

    @keys.add("n", filter=asked, eager=True)
    @keys.add("N", filter=asked, eager=True)
    @keys.add("c-c", filter=asked, eager=True)
    @keys.add("escape", filter=asked)
    def _(event: KeyPressEvent) -> None:
        entry.reply(False)

    return keys
