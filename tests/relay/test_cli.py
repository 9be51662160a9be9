"""The command line: a mistake is one line and a status, and the help has every option with its unit and variable."""

import os
import re
import socket
import subprocess
import sys

import pytest

from relay import cli
from relay.cli import run
from relay.process.standard_streams import OutputLost

OPTIONS = {  # the environment variable of each option of `relay node`, and a word that its help must have
    "--host": ("RELAY_HOST", "Address"),
    "--port": ("RELAY_PORT", "port"),
    "--redis": ("RELAY_REDIS_URL", "URL"),
    "--prefix": ("RELAY_PREFIX", "key"),
    "--name": ("RELAY_NAME", "unique"),
    "--lease": ("RELAY_LEASE", "Seconds"),
    "--grace": ("RELAY_GRACE", "Seconds"),
    "--classic-port": ("RELAY_CLASSIC_PORT", "port"),
    "--http-port": ("RELAY_HTTP_PORT", "port"),
    "--tls-cert": ("RELAY_TLS_CERT", "PEM"),
    "--max-line": ("RELAY_MAX_LINE", "bytes"),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("RELAY_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("COLUMNS", "300")  # so that the help isn't wrapped


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["node", "--prot", "1"], "No such option: --prot"),
        (["node", "--port", "http"], "Invalid value for '--port'"),
        (["node", "--port", "65536"], "--port must be between 0 and 65535, not 65536"),
        (["node", "--port"], "--port"),
        (["node", "--lease", "nan"], "--lease must be between 0.5 and 3600 seconds, not nan"),
        (["node", "--redis", "http://me:hunter2@x"], "--redis http://***@x can't be used: it must start with redis://"),
        (["node", "--prefix", "a\x1b[2Jb"], "--prefix must be"),
        (["node", "sur\u202eplus"], "plus"),
        (["up", "--nodes", "0"], "--nodes must be between 1 and 64, not 0"),
        (["up", "--nodes", "2", "--port", "65535"], "--port must be between 0 and 65535, not 65536"),
        (["node", "--tls-cert", "x"], "--tls-cert and --tls-key need each other"),
        (["up", "--tls-client-ca", "x"], "--tls-client-ca needs --tls-cert and --tls-key"),
        (
            ["node", "--redis", "redis://x", "--tls-cert", "no", "--tls-key", "no"],
            "--tls-cert 'no' can't be read: No such",
        ),
        (["upp"], "upp"),
        (["node", "--host", "a..b"], "--host must be a host name or address, not 'a..b'"),
        (["bench", "--server", "a..b:1"], "--server must be a host name or address, not 'a..b'"),
        (["torture", "--server", "a..b:1"], "--server must be a host name or address, not 'a..b'"),
        (["bench", "--server", "x:1", "--seconds", "nan"], "--seconds must be between 1 and 86400, not nan"),
        (["bench", "--server", "x:1", "--rate", "inf"], "--rate must be between 1 and 10000000, not inf"),
        (["torture", "--server", "x:1", "--seconds", "nan"], "--seconds must be between 1 and 86400, not nan"),
        (["torture", "--server", "x:1", "--lease", "nan"], "--lease must be between 0.5 and 3600 seconds, not nan"),
        (["torture", "--server", "x:1", "--grace", "inf"], "--grace must be between 0 and 3600 seconds, not inf"),
        (["top", "--redis", "redis://x", "--interval", "nan"], "--interval must be between 0.1 and 3600 seconds"),
        (["drain", "n", "--redis", "redis://x", "--timeout", "nan"], "--timeout must be between 0.1 and 86400 seconds"),
        (["kick", "n", "--redis", "redis://x", "--timeout", "inf"], "--timeout must be between 0.1 and 86400 seconds"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"relay: [^\n]*\n", err)
    assert complaint in err
    assert err.rstrip("\n").isprintable()
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RELAY_HOST", "a b"),
        ("RELAY_PORT", "-1"),
        ("RELAY_REDIS_URL", "http://localhost"),
        ("RELAY_PREFIX", "a:b"),
        ("RELAY_NAME", "a b"),
        ("RELAY_LEASE", "0"),
        ("RELAY_GRACE", "-1"),
        ("RELAY_CLASSIC_PORT", "-1"),
        ("RELAY_HTTP_PORT", "-1"),
        ("RELAY_MAX_LINE", "0"),
    ],
)
def test_every_option_can_come_from_the_environment(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert run(["node"]) == 2
    option = next(option for option, (name, _) in OPTIONS.items() if name == variable)
    assert capsys.readouterr().err.startswith(f"relay: {option} ")


@pytest.mark.parametrize("option", OPTIONS)
def test_help_explains_each_option_with_its_unit_and_variable(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["node", "--help"]) == 0
    paragraph = re.search(rf"{option} .*?(?=\n.{{0,3}}--)", capsys.readouterr().out, re.DOTALL)
    assert paragraph
    for word in OPTIONS[option]:
        assert word in paragraph[0]


def test_without_arguments_relay_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    out, err = capsys.readouterr()
    assert "node" in out
    assert "up" in out
    assert err == ""


def test_the_version_is_that_of_the_installed_relay() -> None:
    shown = subprocess.run([sys.executable, "-m", "relay", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"relay \d+\.\d+\.\d+\S*\n", shown.stdout)


@pytest.mark.parametrize(
    ("error", "words"),
    [(OutputLost("No space left on device"), "No space left on device"), (ValueError("a defect"), "")],
)
def test_output_that_is_lost_in_a_task_is_one_line_and_a_defect_keeps_its_trace(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("in a task group", [ExceptionGroup("in its own", [error])])

    monkeypatch.setattr(cli, "app", fail)
    if words:
        assert run(["top"]) == cli.FAILURE_STATUS
        assert re.fullmatch(rf"relay: [^\n]*{words}[^\n]*\n", capsys.readouterr().err)
    else:
        with pytest.raises(ExceptionGroup):
            run(["top"])


def test_a_variable_that_is_no_options_is_told_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        node = subprocess.run(
            [sys.executable, "-m", "relay", "node", "--port", port, "--redis", "redis://127.0.0.1:1"],
            env=os.environ | {"RELAY_PROT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert node.returncode == cli.FAILURE_STATUS
    assert re.search(r"warning variables that are no option's variables='RELAY_PROT \(RELAY_PORT\?\)'", node.stderr)
