"""The options of `relay node`: a command line becomes a Config, and a Config becomes a command line."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from relay import cli
from relay.configuration import options
from relay.configuration.config import Config, ConfigError, LogFormat, LogLevel

# A value for each field with an option, other than its default.
OTHER: dict[str, Any] = {
    "host": "::1",
    "port": 1,
    "redis_password_file": Path("password"),
    "prefix": "other",
    "name": "n7",
    "lease": 1.25,
    "grace": 0.0,
    "drain": 7.5,
    "classic_port": 2,
    "http_port": 0,
    "max_line": 100,
    "memory": 17,
    "tls_cert": Path("node.crt"),
    "tls_key": Path("node.key"),
    "tls_client_ca": Path("ca.pem"),
    "auth_jwt_key": Path("key.pem"),
    "auth_jwt_audience": "relay",
    "auth_jwt_issuer": "https://id.example/",
    "auth_jwt_leeway": 2.5,
    "log_format": LogFormat.JSON,
    "log_level": LogLevel.DEBUG,
    "proxy_protocol": True,
    "max_connections": 10,
    "max_connections_per_address": 0,
    "max_claims": 11,
    "name_time": 15.5,
    "window": 16,
    "window_bytes": 2048,
    "max_calls": 12,
    "max_lines": 13,
    "max_bytes": 14,
    "gather": 1.5,
    "general_way": True,
    "page": True,
    "origin": ("https://chat.example.com", "*"),
    "trusted_proxy": ("10.0.0.0/8",),
    "siblings": (9999, 10000),
    "share_ports": True,
}


def parse(words: list[str]) -> Config:
    """Return the Config that a command with these options makes of the words."""
    parsed: list[Config] = []
    app = typer.Typer()

    @app.command()
    @options.with_settings()
    def command(share_ports: bool = False, siblings: list[int] | None = None, **settings: Any) -> int:
        parsed.append(options.config(settings | {"share_ports": share_ports, "siblings": siblings or ()}))
        return 0

    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return parsed[0]


def test_a_config_told_to_a_child_process_arrives_there_but_for_its_url() -> None:
    told = Config(redis="redis://secret@localhost", **OTHER)
    words = options.arguments(told)
    assert "secret" not in " ".join(words)
    heard = parse([*words, "--redis", "redis://localhost"])
    for field in fields(Config):
        expected = "redis://localhost" if field.name == "redis" else getattr(told, field.name)
        assert getattr(heard, field.name) == expected, field.name


def test_every_setting_is_told() -> None:
    """A field that is missing in this test would not be tested."""
    assert OTHER.keys() == {field.name for field in fields(Config)} - {"redis"}
    assert all(
        OTHER[field.name] != getattr(Config(name="n1"), field.name) for field in fields(Config) if field.name in OTHER
    )


def test_nothing_told_is_the_default() -> None:
    heard = parse(["--name", "n1"])
    assert heard == Config(name="n1")
    assert parse([]).name != parse([]).name


class TestAFile:
    """`--config FILE`: the names are those of the options. Variables and options override it."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "relay.toml"

    @staticmethod
    def toml(value: object) -> str:
        match value:
            case bool():
                return str(value).lower()
            case int() | float():
                return str(value)
            case tuple():
                return f"[{', '.join(map(TestAFile.toml, value))}]"
        return f'"{value}"'

    @pytest.mark.parametrize("dash", ["-", "_"])
    def test_every_setting_may_stand_in_a_file(self, dash: str, file: Path) -> None:
        own = ("share_ports", "siblings")  # which processes tell those that they start
        told = {name: value for name, value in OTHER.items() if name not in own} | {"redis": "redis://x"}
        file.write_text("".join(f"{key.replace('_', dash)} = {self.toml(value)}\n" for key, value in told.items()))
        heard = parse(["--config", str(file)])
        assert {key: getattr(heard, key) for key in told} == told

    def test_an_option_goes_over_a_variable_and_that_over_the_file(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_text("lease = 1\ngrace = 1\ndrain = 1\n")
        monkeypatch.setenv("RELAY_CONFIG", str(file))
        monkeypatch.setenv("RELAY_GRACE", "2")
        monkeypatch.setenv("RELAY_DRAIN", "2")
        heard = parse(["--drain", "3"])
        assert (heard.lease, heard.grace, heard.drain, heard.name_time) == (1, 2, 3, Config().name_time)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("prot = 1", "there is no 'prot' here; 'port'?"),
            ("share_ports = true", "there is no 'share_ports' here"),
            ("[node]\nport = 1", "there is no 'node' here"),
            ("nodes = 3", "there is no 'nodes' here"),
            ('port = "9999"', "'port' has to be a whole number"),
            ("port = 9999.0", "'port' has to be a whole number"),
            ("port = true", "'port' has to be a whole number"),
            ("classic-port = [1]", "'classic-port' has to be a whole number"),
            ('lease = "5"', "'lease' has to be a number"),
            ("proxy-protocol = 1", "'proxy-protocol' has to be true or false"),
            ('log-format = "xml"', "'log-format' has to be console or json"),
            ("tls-cert = 1", "'tls-cert' has to be a text (a path)"),
            ('tls-cert = "a\\u0000b"', "'tls-cert' has to be a text (a path)"),
            ("prefix = 1", "'prefix' has to be a text"),
            ("port", "isn't TOML: Expected '=' after a key"),
            ("port = " + "9" * 5000, "isn't TOML"),
            ("port = " + "[" * 50_000, "isn't TOML"),
            ("\udcff", "isn't TOML"),
            ("#" * 1024 * 1024 + "#", "is longer than 1048576 bytes"),
        ],
    )
    def test_a_mistake_in_a_file_is_one_line_and_status_2(
        self, text: str, complaint: str, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file.write_bytes(text.encode(errors="surrogateescape"))
        assert cli.run(["node", "--config", str(file)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"relay: --config '{file}'")
        assert complaint in err

    def test_a_value_out_of_bounds_is_told_as_ever(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file.write_text("lease = nan")
        assert cli.run(["node", "--config", str(file)]) == 2
        assert capsys.readouterr().err == "relay: --lease must be between 0.5 and 3600 seconds, not nan\n"

    @pytest.mark.parametrize("there", [False, True])
    def test_a_file_that_can_not_be_read_is_one_line_and_status_2(
        self, there: bool, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if there:
            file.mkdir()
        assert cli.run(["up", "--config", str(file)]) == 2
        why = "Is a directory" if there else "No such file or directory"
        assert capsys.readouterr().err == f"relay: --config '{file}' can't be read: {why}\n"

    def test_editors_may_begin_a_file_with_a_byte_order_mark(self, file: Path) -> None:
        file.write_text("lease = 7\n", encoding="utf-8-sig")
        assert parse(["--config", str(file)]).lease == 7

    @pytest.mark.parametrize("command", ["node", "up"])
    def test_each_command_knows_its_own(
        self, command: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cli, "_until_told", lambda *_, **__: 0)  # private: else the nodes would run
        file.write_text("workers = 3" if command == "node" else "nodes = 3")
        assert cli.run([command, "--config", str(file)]) == 0
        assert cli.run(["up" if command == "node" else "node", "--config", str(file)]) == 2

    def test_whoever_asks_about_nodes_may_read_theirs(self, file: Path) -> None:
        """`relay status --config FILE` needs only the settings of Redis in it."""
        file.write_text('redis = "redis://x"\nport = 1\nworkers = 2\nnodes = 2\n')
        asked: list[str | None] = []
        one = typer.Typer()

        @one.command()
        @options.with_only("redis", "redis_password_file", "prefix")
        def command(**settings: Any) -> int:
            asked.append(options.config(settings).redis)
            return 0

        assert CliRunner().invoke(one, ["--config", str(file)]).exit_code == 0
        assert asked == ["redis://x"]


class TestVariables:
    def test_known_variables_are_those_of_all_commands(self) -> None:
        commands = typer.main.get_command(cli.app).commands.values()  # type: ignore[attr-defined]
        read = {str(option.envvar) for command in commands for option in command.params if option.envvar}
        assert read == options.VARIABLES

    def test_unknown_variables_that_look_like_known_ones_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for key in options.VARIABLES:
            monkeypatch.setenv(key, "1")
        assert options.strange_variables() == []
        monkeypatch.setenv("RELAY_HTTP_PROT", "1")
        monkeypatch.setenv("RELAY_XYZZY", "1")
        monkeypatch.setenv("RELAYX", "1")
        assert options.strange_variables() == ["RELAY_HTTP_PROT (RELAY_HTTP_PORT?)", "RELAY_XYZZY"]

    def test_status_tells_unknown_variables_too(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("RELAY_REDIS_ULR", "redis://x")
        assert cli.run(["status"]) == 2
        assert "relay: RELAY_REDIS_ULR (RELAY_REDIS_URL?) is no option's variable\n" in capsys.readouterr().err


def test_an_option_that_needs_another_says_so() -> None:
    with pytest.raises(ConfigError, match="--auth-jwt-audience needs --auth-jwt-key"):
        Config(auth_jwt_audience="chat")
    with pytest.raises(ConfigError, match="--auth-jwt-issuer must be a text, not ''"):
        Config(auth_jwt_key=Path("key"), auth_jwt_issuer="")
