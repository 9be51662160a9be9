"""What is unpacked of Debian: what the machine lacks, and all of Erlang."""

from pathlib import Path

import pytest

from benchmarks import install

EVERYTHING = """\
NOTE: This is only a simulation!
Inst libc6 (2.36-9 Debian:12/stable [amd64])
Inst libyaml-0-2 (0.2.5-1 Debian:12/stable [amd64])
Inst erlang-base (1:25.2 Debian:12/stable [amd64])
Inst ejabberd (23.01-1 Debian:12/stable [amd64])
Conf ejabberd (23.01-1 Debian:12/stable [amd64])
"""


def test_packages_that_the_machine_lacks_are_unpacked_and_its_own_libraries_are_not() -> None:
    missing = "\n".join(line for line in EVERYTHING.splitlines() if "libc6" not in line)
    assert install.debian_packages(missing, EVERYTHING) == ["ejabberd", "erlang-base", "libyaml-0-2"]


def test_erlang_is_unpacked_even_if_the_machine_has_it() -> None:
    assert install.debian_packages("", EVERYTHING) == ["ejabberd", "erlang-base"]


def test_a_machine_without_apt_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "WORK", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.NotInstalled, match="apt-get"):
        install.ejabberd()
    assert install.ejabberd_version() == "not there"
