"""The options of `relay node`: what is told on a command line becomes a Config, and a Config can be told again."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from relay import options
from relay.config import Config, LogFormat, LogLevel

# Of every field that an option tells, something that isn't its default.
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
    "share_ports": True,
}


def parse(words: list[str]) -> Config:
    """What a command with these options makes of the words."""
    parsed: list[Config] = []
    app = typer.Typer()

    @app.command()
    @options.with_settings()
    def command(share_ports: bool = False, **settings: Any) -> int:
        parsed.append(options.config(settings | {"share_ports": share_ports}))
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
    """A field that this test doesn't know of would be one that it says nothing about."""
    assert OTHER.keys() == {field.name for field in fields(Config)} - {"redis"}
    assert all(
        OTHER[field.name] != getattr(Config(name="n1"), field.name) for field in fields(Config) if field.name in OTHER
    )


def test_nothing_told_is_the_default() -> None:
    heard = parse(["--name", "n1"])
    assert heard == Config(name="n1")
    assert parse([]).name != parse([]).name
