"""This module builds the full screen from the history, the status bar and the input, with the global keys."""

from collections.abc import Callable

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.layout import Float, FloatContainer, HSplit, Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.output import Output

from pairchat.screen.attention import FOCUSED, UNFOCUSED, Attention
from pairchat.screen.input_line import InputLine, input_line_keys
from pairchat.screen.job_control import GROUP, suspend
from pairchat.screen.status_bar import StatusBar
from pairchat.screen.theme import Theme, background, style
from pairchat.screen.viewport import Viewport

COMPLETIONS = 8  # rows of the completion menu


def application(
    view: Viewport,
    status: StatusBar,
    entry: InputLine,
    attention: Attention,
    *,
    theme: Theme,
    mouse: bool,
    leave: Callable[[], None],
    keyboard: Input,
    output: Output,
) -> Application[None]:
    """Build the application. Ctrl-D and Ctrl-C on an empty line call `leave`."""

    def bar() -> StyleAndTextTuples:
        status.unseen, status.scrolled = view.unseen, not view.at_end
        return status.bar(app.output.get_size().columns)

    body = HSplit(
        [
            Window(view, height=Dimension(min=1), wrap_lines=False, always_hide_cursor=True),
            Window(FormattedTextControl(bar), height=1, style="class:bar"),
            entry.container,
        ]
    )
    menu = Float(CompletionsMenu(max_height=COMPLETIONS, scroll_offset=1), xcursor=True, ycursor=True)
    app: Application[None] = Application(
        layout=Layout(FloatContainer(body, [menu]), focused_element=entry.control),
        key_bindings=merge_key_bindings([input_line_keys(entry), _keys(view, entry, attention, leave)]),
        style=style(background(theme)),
        full_screen=True,
        mouse_support=mouse,
        input=keyboard,
        output=output,
    )
    app.key_processor.before_key_press += lambda _: attention.typed()
    return app


def _keys(view: Viewport, entry: InputLine, attention: Attention, leave: Callable[[], None]) -> KeyBindings:
    keys = KeyBindings()
    empty = Condition(lambda: not entry.buffer.text)

    @keys.add("pageup")
    def _(event: KeyPressEvent) -> None:
        view.page(-1)

    @keys.add("pagedown")
    def _(event: KeyPressEvent) -> None:
        view.page(1)

    @keys.add("end", filter=empty & entry.free)
    @keys.add("c-end")
    def _(event: KeyPressEvent) -> None:
        view.to_end()

    @keys.add("c-c", filter=entry.free)
    def _(event: KeyPressEvent) -> None:
        if entry.buffer.text:
            entry.buffer.reset()
        else:
            leave()

    @keys.add("c-d", filter=empty & entry.free)
    def _(event: KeyPressEvent) -> None:
        leave()

    @keys.add("c-l")
    def _(event: KeyPressEvent) -> None:
        event.app.renderer.clear()

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:
        run_in_terminal(lambda: suspend(event.app.output, GROUP))

    @keys.add(FOCUSED)
    def _(event: KeyPressEvent) -> None:
        attention.focus(True)

    @keys.add(UNFOCUSED)
    def _(event: KeyPressEvent) -> None:
        attention.focus(False)

    return keys
