"""Attempts are counted before anybody is asked, refused alike, and each stands for itself."""

from __future__ import annotations

import pytest

from octopus.core.errors import ControlUnavailable, DirectoryUnavailable
from octopus.core.types import Connection
from octopus.session.authentication import Login, login_of, prompts
from tests.fake_plane import FakePlane

KEY = "SHA256:alice"


def login(plane: FakePlane, told: list[str] | None = None, **limits: int) -> Login:
    """Return a connection's login; what is told goes into ``told``."""
    return Login(plane, Connection(id="c-1", client="127.0.0.1:1"), (told if told is not None else []).append, **limits)


def plane() -> FakePlane:
    """Return a plane that knows alice."""
    return FakePlane({}, passwords={"alice": "secret"}, keys={KEY: "alice"})


@pytest.mark.parametrize(
    ("name", "said"), [("alice+t", "alice"), ("alice+", "alice"), ("t", ""), ("", ""), ("a b+t", ""), ("alice+../x", ""), ("x" * 9999, "")]
)
def test_login_is_what_stands_before_the_plus(name: str, said: str) -> None:
    """A name that cannot be read has no login, and is asked for one like any other."""
    assert login_of(name) == said
    assert [prompt for prompt, _ in prompts(name)] == (["Password: "] if said else ["LDAP login: ", "Password: "])
    assert [echoed for _, echoed in prompts(name)] == ([False] if said else [True, False])


async def test_answers_must_fit_the_questions() -> None:
    """One answer where two were asked for, or three, never reaches the control plane."""
    asked = plane()
    tried = login(asked)
    for answers in ((), ("secret",), ("alice", "secret", "more")):
        assert not await tried.password("t", answers, "keyboard-interactive")
    assert not await tried.password("alice+t", ("alice", "secret"), "keyboard-interactive")
    assert asked.attempts == []
    assert await tried.password("t", ("alice", "secret"), "keyboard-interactive")
    assert tried.identity is not None
    assert tried.connection.user_name == "t"


async def test_success_does_not_outlive_a_later_failure() -> None:
    """Each attempt stands for itself: a proven identity is gone once another attempt fails."""
    tried = login(plane())
    assert await tried.key("t", KEY)
    assert not await tried.password("t", ("alice", "wrong"), "keyboard-interactive")
    assert tried.identity is None


async def test_passwords_past_the_limit_ask_nobody() -> None:
    """Once the attempts are spent, even the right password is not tried."""
    asked = plane()
    tried = login(asked, max_passwords=2)
    for _ in range(2):
        assert not await tried.password("alice+t", ("wrong",), "password")
    assert not tried.exhausted
    assert not await tried.password("alice+t", ("secret",), "password")
    assert tried.exhausted
    assert len(asked.attempts) == 2


def test_keys_and_probes_have_limits_of_their_own() -> None:
    """Probing many keys does not use up signatures."""
    tried = login(plane(), max_keys=1, max_probes=3)
    assert all(tried.spend("probe") for _ in range(3))
    assert tried.spend("key")
    assert not tried.spend("key")


async def test_outage_is_told_once_in_our_own_words() -> None:
    """The notice is shown once for each cause, never what the directory said."""
    asked, told = plane(), list[str]()
    tried = login(asked, told)
    asked.outage = DirectoryUnavailable("ldap1.corp: refused")
    for _ in range(3):
        assert not await tried.key("t", KEY)
    asked.outage = ControlUnavailable("socket")
    assert not await tried.key("t", KEY)
    assert told == ["the directory is unavailable, try again later", "the gateway is restarting, try again in a moment"]


async def test_bug_is_a_refusal() -> None:
    """An error nobody thought of lets nobody in."""
    asked = plane()
    asked.keys = {KEY: ""}
    assert not await login(asked).key("t", KEY)
    del asked.keys
    assert not await login(asked).key("t", KEY)
