"""Settings: variables override the file, and options override both."""

import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from pairchat import BadSettings
from pairchat.screen.attention import Notify
from pairchat.screen.theme import Theme
from pairchat.session_store import state_folder
from pairchat.settings import NOTIFY, THEMES
from pairchat.settings_file import config_file, read, write
from tests.cli.chatting import Open
from tests.cli.home import Home
from tests.cli.piped import Start
from tests.cli.scripted import ScriptedNode

# A user who is in no user database, as in some containers.
# A user without a home folder whose shell is bash, whatever has started the tests.
HOMELESS = (
    "import pwd, shellingham; pwd.getpwuid = {}.__getitem__; "
    "shellingham.detect_shell = lambda *_: ('bash', '/bin/bash'); from pairchat.cli import main; main()"
)


def home_with(text: str) -> Home:
    home = Home()
    path = home.path / ".config/pairchat/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return home


def test_options_go_over_the_environment_and_that_over_the_file(node: ScriptedNode, start: Start) -> None:
    text = f'name = "from-file"\nserver = ["{node.address}"]\n'
    start(server="", home=home_with(text), stdin=subprocess.DEVNULL)
    node.accept().welcome("from-file")
    start(server="", home=home_with(text), stdin=subprocess.DEVNULL, PAIRCHAT_NAME="from-environment")
    node.accept().welcome("from-environment")
    start("from-option", server="", home=home_with(text), stdin=subprocess.DEVNULL, PAIRCHAT_NAME="from-environment")
    node.accept().welcome("from-option")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "is not TOML"),
        ('nmae = "x"', "there is no 'nmae'"),
        ("name = 1", "'name' has to be a text"),
        ("name = 1979-05-27", "'name' has to be a text"),
        ("server = [1]", "'server' has to be a text, or a list of texts"),
        ('server = [["x"]]', "'server' has to be a text, or a list of texts"),
        ("server = 1", "'server' has to be a text, or a list of texts"),
        ("mouse = 1", "'mouse' has to be true or false"),
        ('mouse = "yes"', "'mouse' has to be true or false"),
    ],
)
def test_a_mistake_in_the_settings_file_is_told(start: Start, text: str, complaint: str) -> None:
    status, out, told = start("alice", home=home_with(text), stdin=subprocess.DEVNULL).ended()
    assert (status, out) == (2, "")
    assert complaint in " ".join(line.strip("│ ") for line in told)


def test_a_file_that_was_named_must_exist(start: Start) -> None:
    assert start("alice", "--config", "/nowhere.toml", stdin=subprocess.DEVNULL).ended()[0] == 2


def test_a_server_is_a_text_or_a_list_of_texts(tmp_path: Path) -> None:
    for text, servers in {'"a:1"': ["a:1"], '["a:1", "b:2"]': ["a:1", "b:2"], "[]": []}.items():
        (tmp_path / "config.toml").write_text(f"server = {text}\n")
        assert read(tmp_path / "config.toml", must_exist=True) == {"server": servers}


def test_a_byte_order_mark_before_the_settings_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b'\xef\xbb\xbfname = "ann"\n')
    assert read(tmp_path / "config.toml", must_exist=True) == {"name": "ann"}


@pytest.mark.parametrize("asked", ["--help", "--version", "--show-completion"])
def test_a_broken_file_hinders_nobody_who_only_asks(start: Start, asked: str) -> None:
    """The output of `--show-completion` depends on the shell that started the tests, and there may be none."""
    broken, whole = (start(asked, home=home_with(text)).ended() for text in ("name = ", ""))
    assert broken == whole
    if asked != "--show-completion":
        assert (broken[0], broken[2]) == (0, [])
        assert "pairchat" in broken[1]


def test_a_user_without_a_home_has_no_file_and_no_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise KeyError

    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert config_file() is None
    assert state_folder() is None


def test_themes_and_notifications_to_choose_are_those_that_the_screen_offers() -> None:
    assert tuple(Theme) == THEMES
    assert tuple(Notify) == NOTIFY


@pytest.mark.parametrize("value", ["nan", "-1", "soon"])
def test_a_time_that_is_none_is_wrong_usage(start: Start, value: str) -> None:
    status, out, told = start("alice", "--timeout", value, stdin=subprocess.DEVNULL).ended()
    assert (status, out) == (2, "")
    assert value in " ".join(told)


def test_a_theme_that_is_none_is_wrong_usage(terminal: Open) -> None:
    screen = terminal("alice", "--theme", "pink")
    assert screen.status() == 2
    assert screen.lines[-1] == "pairchat: theme can't be 'pink'; choose from auto, dark, light"


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize("what", ["theme", "notify"])
@pytest.mark.parametrize("where", ["option", "variable", "file"])
def test_a_choice_that_is_none_is_wrong_usage_also_in_a_pipe(start: Start, where: str, what: str, json: bool) -> None:
    options = ["--json"] if json else []
    options += [f"--{what}", "pink"] if where == "option" else []
    variables = {f"PAIRCHAT_{what.upper()}": "pink"} if where == "variable" else {}
    home = home_with(f'{what} = "pink"' if where == "file" else "")
    status, out, told = start("alice", *options, home=home, stdin=subprocess.DEVNULL, **variables).ended()
    assert (status, out) == (2, "")
    assert told == [f"pairchat: {what} can't be 'pink'; choose from {', '.join(THEMES if what == 'theme' else NOTIFY)}"]


def test_a_token_in_a_variable_that_is_no_text_is_wrong_usage(start: Start) -> None:
    status, out, told = start("alice", stdin=subprocess.DEVNULL, PAIRCHAT_AUTH="\udcff").ended()
    assert (status, out, told) == (2, "", ["pairchat: PAIRCHAT_AUTH is not UTF-8"])


def test_a_settings_file_that_was_written_can_be_read(tmp_path: Path) -> None:
    values = {"name": 'a"\\b\n\u202e日本', "server": ["[::1]:9999", "b"], "mouse": False}
    write(tmp_path / "new" / "config.toml", values)
    assert read(tmp_path / "new" / "config.toml", must_exist=True) == values
    assert (tmp_path / "new" / "config.toml").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write(tmp_path / "new" / "config.toml", values)
    with pytest.raises(BadSettings):
        read(tmp_path / "none", must_exist=True)
    assert read(tmp_path / "none", must_exist=False) == {}


def test_the_file_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert config_file() == Path("/x/pairchat/config.toml")


def test_the_answers_to_a_few_questions_make_the_file(terminal: Open) -> None:
    home = Home()
    screen = terminal("--init", home=home)

    def answer(question: str, text: str) -> None:
        """Type an answer once its question is in the last line. What is typed earlier would be echoed before it."""
        screen.wait(lambda lines: bool(lines) and question in lines[-1], question)
        screen.type(f"{text}\r")

    answer("Your name:", "ann lee")
    screen.wait_for("Error: a name has no white space")
    answer("Your name:", "ann")
    answer("Servers, with spaces between [localhost:9999]:", "one:two:3")
    screen.wait_for("Error: not an address: 'one:two:3'")
    answer("Servers, with spaces between [localhost:9999]:", "one:1 two:2")
    answer("dark, light, or auto", "pink")
    screen.wait_for("Error: choose from auto, dark, light")
    answer("dark, light, or auto", "dark")
    answer("or off", "drum")
    screen.wait_for("Error: choose from off, bell, auto")
    answer("or off", "")
    screen.wait_for("Written:")
    assert screen.status() == 0
    written = home.path / ".config/pairchat/config.toml"
    wanted = {"name": "ann", "server": ["one:1", "two:2"], "theme": "dark", "notify": "bell"}
    assert read(written, must_exist=True) == wanted
    assert terminal("--init", home=home).status() == 2


@pytest.mark.parametrize("options", [("--init", "--config", "FILE"), ("--config", "FILE", "--init")])
def test_the_file_that_is_made_is_the_one_that_was_named(start: Start, options: tuple[str, ...]) -> None:
    home = Home()
    file = home.path / "mine" / "chat.toml"
    process = start(*(option.replace("FILE", str(file)) for option in options), home=home)
    process.type(b"ann\n\n\n\n")
    status, said, _ = process.ended()
    assert status == 0
    assert said.endswith(f"Written: {file}\n")
    assert read(file, must_exist=True)["name"] == "ann"
    assert not (home.path / ".config").exists()


def test_the_version_is_told(start: Start) -> None:
    assert start("--version").ended() == (0, f"pairchat {version('pair-relay')}\n", [])


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("--init", "there is no home folder: set HOME or XDG_CONFIG_HOME"),
        ("--install-completion", "there is no home folder: set HOME"),
    ],
)
def test_without_a_home_there_is_no_place_for_a_file(asked: str, complaint: str) -> None:
    with closing(Home()) as home:
        environment = {key: value for key, value in home.environment("").items() if key != "HOME"}
        command = [sys.executable, "-c", HOMELESS, asked]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pairchat: {complaint}\n")


def test_questions_without_answers_make_no_file(start: Start) -> None:
    home = Home()
    process = start("--init", home=home)
    process.end_input()
    status, _, told = process.ended()
    assert (status, told) == (2, ["pairchat: nothing was written"])
    assert not (home.path / ".config").exists()
