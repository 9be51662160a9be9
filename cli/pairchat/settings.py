"""This module has the settings of a run. Options override the environment, and the environment overrides the file."""

from dataclasses import dataclass, field
from typing import Final

from pairchat.errors import BadSettings

# The choices of the screen are repeated here so that help and completion need not import it, which is slow.
THEMES: Final = ("auto", "dark", "light")
NOTIFY: Final = ("off", "bell", "auto", "osc9", "osc777", "osc99")


@dataclass
class Settings:
    """The settings for one run of the program."""

    name: str | None = None
    to: str | None = None
    servers: list[str] = field(default_factory=list)
    wait: bool = False
    timeout: float | None = None
    json: bool = False
    ask: bool = False
    theme: str = "auto"
    notify: str = "bell"
    mouse: bool = True
    typing: bool = True
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    auth_file: str | None = None
    proxy: str | None = None

    def check(self) -> None:
        """Raise `BadSettings` for an unknown choice, even if this run doesn't use it, as in a pipe."""
        for what, value, choices in (("theme", self.theme, THEMES), ("notify", self.notify, NOTIFY)):
            if value not in choices:
                raise BadSettings(f"{what} can't be {value!r}; choose from {', '.join(choices)}")
