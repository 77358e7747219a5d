"""The shape of the program, held over its syntax trees: which room knows which, what is pure, what is said, what is too long."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ARROWS = {
    "core": {"core"},
    "config": {"config", "core"},
    "feeds": {"feeds", "core"},
    "identity": {"identity", "core"},
    "engine": {"engine", "core"},
    "session": {"session", "core", "control.plane", "hostkeys"},
    "control": {"control", "core"},
    "admin": {"admin", "core"},
    "shipping": {"shipping", "core"},
    "demo": {"demo", "core"},
    "fleet": {"fleet", "core"},
    "log": {"core"},
    "hostkeys": {"core"},
}
"""Which rooms each room may import. Modules at the top that are not named here wire the rooms together and may import all."""

IMPURE = {
    *("asyncio", "concurrent", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets"),
    *("select", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid"),
}
"""Parts of the standard library that the core does without: I/O, clocks, chance, concurrency."""

THIRD_PARTIES_OF_CORE = {"msgspec"}

ENVIRONMENT_READERS: dict[str, str] = {
    "octopus/config/loading.py": "the configuration may come from the environment",
    "octopus/config/process.py": "systemd tells a service about its sockets there",
}
"""Who reads the process's environment, and why."""

LINES = 300
LONGER: dict[str, str] = {}
"""Modules that are longer than that, and why."""


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    path: str
    tree: ast.Module
    lines: int

    @property
    def dotted(self) -> str:
        """Return the module's name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        """Return the package below octopus, or the module's own name where it stands at the top."""
        return self.dotted.partition(".")[2].partition(".")[0]


@cache
def modules(top: str) -> tuple[Module, ...]:
    """Return every module below ``top``."""
    paths = sorted((ROOT / top).rglob("*.py"))
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]
    return tuple(Module(path=path, tree=ast.parse(text), lines=text.count("\n")) for path, text in texts)


def imports(module: Module) -> Iterator[str]:
    """Yield what a module imports, each name of a ``from`` import spelled out (``octopus.core.types.Value``)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def within(name: str, room: str) -> bool:
    """Tell whether an import lies in a room (``control.plane`` is one module of a room)."""
    return name == f"octopus.{room}" or name.startswith(f"octopus.{room}.")


def own_parts() -> set[str]:
    """Return the rooms and top modules there are, without the package itself."""
    return {module.room for module in modules("octopus")} - {""}


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    """Rooms meet in the wiring, and session and control in the calls between the planes."""
    strangers = [
        f"{module.path}: {name}"
        for module in modules("octopus")
        if module.room == room
        for name in imports(module)
        if any(within(name, part) for part in own_parts()) and not any(within(name, allowed) for allowed in ARROWS[room])
    ]
    assert strangers == []


def test_every_package_has_its_arrows() -> None:
    """A new room says what it may import before it is let in."""
    packages = {path.parent.name for path in (ROOT / "octopus").glob("*/__init__.py")}
    assert packages - set(ARROWS) == set()


def test_imports_are_absolute() -> None:
    """A reader sees in each line which room a name comes from."""
    assert [f"{module.path}: {name}" for module in modules("octopus") for name in imports(module) if name.startswith(".")] == []


def test_the_core_is_pure() -> None:
    """No I/O, clock, chance or concurrency, and one third party for values."""
    strangers = []
    for module in modules("octopus/core"):
        for name in {name.partition(".")[0] for name in imports(module)} - {"octopus", "__future__"}:
            if name in IMPURE or (name not in sys.stdlib_module_names and name not in THIRD_PARTIES_OF_CORE):
                strangers.append(f"{module.path}: {name}")
        strangers += [f"{module.path}:{node.lineno}: await" for node in ast.walk(module.tree) if isinstance(node, ast.Await)]
        strangers += [f"{module.path}:{node.lineno}: {call}" for node, call in calls(module) if call in {"open", "print", "input"}]
    assert strangers == []


def calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call of a plain name."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, node.func.id


def reads_environment(module: Module) -> bool:
    """Tell whether a module touches os.environ or os.getenv."""
    named = any(name in {"os.environ", "os.getenv", "os.environb"} for name in imports(module))
    return named or any(
        isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv", "environb"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(module.tree)
    )


def test_only_the_configuration_reads_the_environment() -> None:
    """Everything else is told by arguments; the list of exceptions is exact."""
    assert {module.path for module in modules("octopus") if reads_environment(module)} == set(ENVIRONMENT_READERS)


def test_no_input_is_checked_by_assert() -> None:
    """``python -O`` leaves asserts out."""
    found = [f"{m.path}:{n.lineno}" for m in modules("octopus") for n in ast.walk(m.tree) if isinstance(n, ast.Assert)]
    assert found == []


def test_nothing_is_raised_from_within_except_star() -> None:
    """Debian 12's Python (3.11.2) puts it into a group of its own; Pythons from 3.11.4 on do not."""
    found = [
        f"{module.path}:{node.lineno}"
        for module in modules("octopus")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.TryStar) and any(isinstance(inner, ast.Raise) for each in node.handlers for inner in ast.walk(each))
    ]
    assert found == []


@pytest.mark.parametrize("top", ["octopus", "tests"])
def test_everything_says_what_it_is(top: str) -> None:
    """Each module, class and test opens with a sentence."""
    silent = [module.path for module in modules(top) if not ast.get_docstring(module.tree)]
    silent += [f"{module.path}: {node.name}" for module in modules(top) for node in spoken(module) if not ast.get_docstring(node)]
    assert silent == []


def spoken(module: Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield what owes a sentence: tests, and classes that other modules may use."""
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            is_class = isinstance(node, ast.ClassDef)
            if (is_class and not node.name.startswith("_")) or (not is_class and node.name.startswith("test_")):
                yield node


def test_modules_are_short_or_say_why() -> None:
    """A module that outgrows the limit is split, or listed with its reason; the list is exact."""
    assert {module.path for module in modules("octopus") if module.lines > LINES} == set(LONGER)
