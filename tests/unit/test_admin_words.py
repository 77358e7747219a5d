"""The words of the admin's pages: every one has its translation, and each reader gets the language they asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from octopus.admin import login
from octopus.admin.catalogue import Catalogue, chosen
from octopus.admin.rendering import HERE
from octopus.admin_cluster import DENIED, NO_RULE, UNCONFIRMED

SAID = re.compile(r'_\("([^"]+)"')
BRACES = re.compile(r"\{[a-z]+\}")


def said() -> set[str]:
    """Return every text that templates and code may show."""
    found = {text for path in Path(HERE, "templates").glob("*.html") for text in SAID.findall(path.read_text())}
    return found | {login.WRONG, login.NOBODY, login.OUT_OF_DATE, login.DOWN, UNCONFIRMED, NO_RULE, DENIED}


def test_every_text_is_there_in_chinese() -> None:
    """With the same values in its braces; and nothing is translated that nobody says."""
    catalogue = Catalogue.read()
    assert [text for text in sorted(said()) if not catalogue.knows("zh", text)] == []
    for text in said():
        assert sorted(BRACES.findall(catalogue.text("zh", text))) == sorted(BRACES.findall(text)), text
    assert sorted(text for text in catalogue.texts("zh") if text not in said()) == []


@pytest.mark.parametrize(
    ("kept", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "de-DE, en;q=0.5, zh;q=0.4", "en"),
        ("", "en;q=0.1, zh;q=0.2", "zh"),
        ("", "zh;q=0, en", "en"),
        ("", "zh;q=0", "en"),
        ("", "fr", "en"),
        ("", "zh;q=x,,;;", "en"),
        ("zh", "en", "zh"),
        ("../x", "zh", "zh"),
    ],
)
def test_the_language_is_the_one_asked_for(kept: str, accepted: str, language: str) -> None:
    """What was chosen by hand goes before what the browser says."""
    assert chosen(kept, accepted) == language


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/tasks?text=a", "/tasks?text=a"),
        ("", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nb", "/"),
    ],
)
def test_after_the_login_nobody_is_led_to_another_site(path: str, leads_to: str) -> None:
    """Browsers read ``//host`` and ``/\\host`` as other sites."""
    assert login.own_path(path) == leads_to
