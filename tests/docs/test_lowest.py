"""The constraints of `make check-lowest`."""

import pytest

from tools.lowest import PYPROJECT, lowest


def test_every_dependency_of_users_is_a_constraint_at_its_bound() -> None:
    pyproject = """
        [project]
        dependencies = ["anyio>=4.12", "redis[x] >=6.4,<9", "uvloop>=0.21; sys_platform != 'win32'"]
        [project.optional-dependencies]
        auth = ["PyJWT[crypto]>=2.14"]
    """
    assert lowest(pyproject) == ["anyio==4.12", "redis==6.4", "uvloop==0.21", "PyJWT==2.14"]


def test_a_dependency_without_a_bound_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'anyio' has no lower bound"):
        lowest("[project]\ndependencies = ['anyio']\noptional-dependencies = {}")


def test_our_dependencies_have_a_bound_each() -> None:
    assert len(lowest(PYPROJECT.read_text())) > 10
