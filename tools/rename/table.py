"""The tables, and the answers that they give for one tree of files."""

import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

# The folder with the tables: this one, or the one in it that TABLES names.
HERE: Final = Path(__file__).parent / os.environ.get("TABLES", "")
ROOT: Final = Path(__file__).parents[2]

# Folders that packages are found in, by the first word of a module's name.
_FOLDERS: Final = {"relay": "", "pairchat": "cli/", "tests": "", "benchmarks": "", "tools": ""}
_DOTTED: Final = re.compile(r"(?<![\w/.@-])(?:relay|pairchat|tests)(?:\.[A-Za-z_]\w*)+")
_PATH: Final = re.compile(r"(?<![\w/.-])(?:tests/|cli/)?(?:relay|pairchat|cli)(?:/\w+)+(?:\.\w+)?")
_BARE: Final = re.compile(r"`((?:\w+/)*\w+\.py)`")
_NAMED: Final = ("relay/", "cli/pairchat/")
# Texts leave these out where their readers know them.
_PREFIXES: Final = ("", "tests/", "cli/")


@dataclass(frozen=True)
class Split:
    """Definitions that leave their module for another one."""

    source: str
    target: str
    names: tuple[str, ...]
    renamed: dict[str, str]
    head: str  # of the new module; empty where another split gives it
    fix: dict[str, str]  # texts to replace in what moves


def module_of(path: str) -> str:
    """The name by which the file is imported; empty for a file that isn't a module."""
    if not path.endswith(".py"):
        return ""
    name = path.removeprefix("cli/") if path.startswith("cli/pairchat/") else path
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Table:
    """What moves.toml and tests.toml, or other tables, say about a tree, which is given by its files."""

    def __init__(
        self, files: Iterable[str], told: dict[str, Any] | None = None, tests: dict[str, Any] | None = None
    ) -> None:
        told = told or tomllib.loads((HERE / "moves.toml").read_text(encoding="utf-8"))
        tests = tests or tomllib.loads((HERE / "tests.toml").read_text(encoding="utf-8"))
        self.files = tuple(files)
        self.modules = {name for name in map(module_of, self.files) if name}
        self.packages: dict[str, str] = told.get("packages", {})
        self.splits = [_split(**one) for one in told.get("split", [])]
        self.edits: list[dict[str, Any]] = told.get("edit", [])
        self._inside: dict[str, str] = told.get("inside", {})
        self._moved: dict[str, str] = told["modules"]
        self._tests: dict[str, str] = tests.get("files", {})
        self._test_folders: dict[str, str] = tests.get("folders", {})
        self._package_files = {module_of(file) for file in self.files if file.endswith("/__init__.py")}
        self.paths = {file: self._new_path(file) for file in self.files}
        self._folders = {
            old: new
            for old, new in map(self._new_folder, {str(PurePosixPath(f).parent) for f in self.files})
            if old != new
        }

    def unknown(self) -> list[str]:
        """Entries for which there is no module or file, which may have been misspelt."""
        modules = [name for name in self._moved if name not in self.modules]
        return modules + [file for file in self._tests if file not in self.paths]

    def module(self, old: str) -> str:
        """The new name of a module, or of a package that holds others."""
        if old.startswith("tests."):
            file = f"{old.replace('.', '/')}.py"
            return module_of(self.paths.get(file, file))
        if old in self._moved:
            return self._moved[old]
        package, _, rest = old.rpartition(".")
        while package:
            if package in self._moved and package in self._package_files and package not in self._inside:
                return f"{self._moved[package]}.{rest}"
            package, _, last = package.rpartition(".")
            rest = f"{last}.{rest}"
        return old

    def origin(self, module: str, name: str) -> str:
        """The new module that has this definition of the old module."""
        for split in self.splits:
            if split.source == module and name in split.names:
                return split.target
        return self.module(module)

    def text(self, text: str) -> str:
        """A comment, a string or a page with the new names of the modules and files in it."""
        return _PATH.sub(lambda found: self._path(found[0]), _DOTTED.sub(lambda found: self._dotted(found[0]), text))

    def bare(self, text: str) -> str:
        """A page that names files without their folders, with their new names."""

        def renamed(found: re.Match[str]) -> str:
            meant = [file for file in self.files if f"/{file}".endswith(f"/{found[1]}") and file.startswith(_NAMED)]
            if len(meant) != 1:
                return found[0]
            folder, _, _ = found[1].rpartition("/")
            return f"`{folder}{'/' if folder else ''}{self.paths[meant[0]].rpartition('/')[2]}`"

        return _BARE.sub(renamed, text)

    def _dotted(self, name: str) -> str:
        module, rest = name, ""
        while module not in self.modules:
            module, _, last = module.rpartition(".")
            if not module:
                return name
            rest = f".{last}{rest}"
        if module in self._inside and not rest:
            return name
        return (self.origin(module, rest.split(".")[1]) if rest else self.module(module)) + rest

    def _path(self, path: str) -> str:
        for prefix in _PREFIXES:
            if new := self.paths.get(prefix + path):
                return new.removeprefix(prefix)
        for prefix in _PREFIXES:
            folder, rest = prefix + path, ""
            while folder:
                if folder in self._folders:
                    return (self._folders[folder] + rest).removeprefix(prefix)
                folder, _, last = folder.rpartition("/")
                rest = f"/{last}{rest}"
        return path

    def _new_path(self, path: str) -> str:
        if path in self._tests:
            return self._tests[path]
        parent, _, name = path.rpartition("/")
        if path.startswith("tests/"):
            return f"{self._new_folder(parent)[1]}/{name}"
        module = module_of(path)
        if not module or module.split(".")[0] not in ("relay", "pairchat"):
            return f"{self._new_folder(parent)[1]}/{name}" if parent else path
        new = self.module(module)
        folder = _FOLDERS[new.split(".")[0]] + new.replace(".", "/")
        return f"{folder}/__init__.py" if name == "__init__.py" and module not in self._inside else f"{folder}.py"

    def _new_folder(self, folder: str) -> tuple[str, str]:
        for old, new in self._test_folders.items():
            if folder == old or folder.startswith(f"{old}/"):
                return folder, new + folder.removeprefix(old)
        module = module_of(f"{folder}/__init__.py")
        if module.split(".")[0] not in ("relay", "pairchat") or module not in self._package_files:
            return folder, folder
        if module in self._inside:
            return folder, folder
        new = self.module(module)
        return folder, _FOLDERS[new.split(".")[0]] + new.replace(".", "/")


def _split(
    to: str,
    names: list[str],
    renamed: dict[str, str] | None = None,
    head: str = "",
    fix: dict[str, str] | None = None,
    **source: str,
) -> Split:
    return Split(source["from"], to, tuple(names), renamed or {}, head.lstrip("\n"), fix or {})
