"""The example names every key with its real default, and is a configuration that loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from octopus.config import load
from octopus.config.faults import keys_of, section_at
from octopus.config.sections import Config
from octopus.config.toml_lines import key_lines

EXAMPLE = Path(__file__).parents[2] / "systemd" / "octopus.example.toml"
NAMED_FILES = re.compile(r'"(/etc/octopus/(?:ldap\.secret|docker/\w+\.pem))"')


def _shown(text: str) -> str:
    """Return the text with the lines that show defaults (and [auth.users]) made real."""
    return re.sub(r"^# ((?:[a-z0-9_]+ = |\[auth\.users\]))", r"\1", text, flags=re.MULTILINE)


def _keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the paths of all keys a configuration may hold."""
    found: set[tuple[str, ...]] = set()
    for key in keys_of(model):
        sub = section_at(model, (key,))
        found |= _keys(sub, (*path, key)) if sub else {(*path, key)}
    return found


@pytest.fixture
def example(tmp_path: Path) -> str:
    """The example, with the files it names made beside it."""
    text = EXAMPLE.read_text()
    for name in NAMED_FILES.findall(text):
        path = tmp_path / Path(name).name
        path.touch(mode=0o600)
        path.write_text("secret")
        text = text.replace(f'"{name}"', f'"{path}"')
    return text


def test_the_example_loads(tmp_path: Path, example: str) -> None:
    """As it stands, once the files it names are there."""
    (tmp_path / "octopus.toml").write_text(example)
    config = load(tmp_path / "octopus.toml", {})
    assert config.auth.ldap is not None
    assert config.rules[0].covers("/logging/logstash")


def test_the_example_names_every_key() -> None:
    """Neither more nor less than the models know."""
    named = {tuple(part for part in path if isinstance(part, str)) for path in key_lines(_shown(EXAMPLE.read_text()))}
    sections = {key[:length] for key in _keys(Config) for length in range(1, len(key))}
    assert named - sections == _keys(Config) - {("policy", "users")}


def test_the_defaults_it_shows_are_those(tmp_path: Path, example: str) -> None:
    """With every shown default made real the configuration is the same."""
    (tmp_path / "octopus.toml").write_text(example)
    shown = _shown(example.replace("# [auth.users]", "").replace('# file = "/etc/octopus/users.toml"', ""))
    (tmp_path / "shown.toml").write_text(shown)
    assert load(tmp_path / "shown.toml", {}) == load(tmp_path / "octopus.toml", {})
