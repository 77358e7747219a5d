"""Who is logged in at the admin, and whose token it is."""

from __future__ import annotations

import hashlib

import pytest

from octopus.admin import tokens
from octopus.admin.visits import Role, Visits
from octopus.core.errors import ConfigError
from octopus.core.types import Identity

ALICE = Identity(login="alice", method="password")
SECRET = "a token"
ENTRY = f'[[token]]\nname = "ci"\nsha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}"\nrole = "operator"\n'


class Clock:
    """A clock set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def visits(clock: Clock, **limits: float) -> Visits:
    """Return a table whose ids are counted."""
    numbers = iter(range(1, 100_000))
    return Visits(key=b"k" * 32, clock=clock, new_id=lambda: f"v{next(numbers)}", **limits)  # type: ignore[arg-type]


def test_a_visit_ends_when_it_is_idle() -> None:
    """Each request keeps it; half an hour without one ends it for good."""
    clock = Clock()
    table = visits(clock, idle=1800.0)
    mark = table.mark(table.begin(ALICE, Role.VIEWER).id)
    clock.now += 1799
    assert table.find(mark)
    clock.now += 1801
    assert table.find(mark) is None
    clock.now -= 1801
    assert table.find(mark) is None


def test_a_visit_ends_however_busy_it_is() -> None:
    """A cookie that was taken away is of no use for ever."""
    clock = Clock()
    table = visits(clock, idle=1800.0, lifetime=3600.0)
    mark = table.mark(table.begin(ALICE, Role.VIEWER).id)
    for _ in range(4):
        clock.now += 899
        assert table.find(mark)
    clock.now += 899
    assert table.find(mark) is None


@pytest.mark.parametrize("mark", ["", "v1", "v1.", "v1.AAAA", "v2", "\udcff.x", "v1\x00"])
def test_a_mark_that_we_did_not_sign_is_nobody(mark: str) -> None:
    """Nor is one that was signed by another process."""
    table = visits(Clock())
    table.begin(ALICE, Role.VIEWER)
    assert table.find(mark) is None
    stranger = Visits(key=b"x" * 32, clock=Clock(), new_id=lambda: "v1")
    assert table.find(stranger.mark("v1")) is None


def test_a_token_for_changes_is_of_one_visit() -> None:
    """Neither another visit's nor a mark will do."""
    table = visits(Clock())
    one, other = table.begin(ALICE, Role.OPERATOR), table.begin(ALICE, Role.OPERATOR)
    assert table.fits(one.id, table.token(one.id))
    for wrong in (table.token(other.id), table.mark(one.id), "", "\udcff"):
        assert not table.fits(one.id, wrong)
    assert not table.fits("", table.token(""))


def test_the_table_has_an_end() -> None:
    """Who logs in again and again pushes out the one who was not seen longest."""
    table = visits(Clock(), most=2)
    first, second = (table.mark(table.begin(ALICE, Role.VIEWER).id) for _ in range(2))
    assert table.find(first)
    table.begin(ALICE, Role.VIEWER)
    assert (bool(table.find(first)), table.find(second)) == (True, None)


def test_a_machine_is_known_by_its_token() -> None:
    """And by nothing else: not by the hash that stands in the file."""
    found = tokens.parse(ENTRY)
    machine = found.find(SECRET)
    assert machine
    assert (machine.identity.login, machine.identity.groups, machine.role) == ("token:ci", frozenset(), Role.OPERATOR)
    for wrong in ("", "a token ", machine.sha256, "\udcff"):
        assert found.find(wrong) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[token]]\nname = 1\n", "token[0]: expected name, sha256 and role"),
        (ENTRY.replace('"ci"', '"c i"'), "token[0]: name is letters"),
        (ENTRY.replace("operator", "root"), "token[0]: role is viewer or operator"),
        (ENTRY + ENTRY, "token[1]: there are two tokens of the name ci"),
        (ENTRY.replace('sha256 = "', 'sha256 = "Z'), "token[0]: sha256 is 64"),
        ("[token]\nname = 'ci'\n", "expected [[token]]"),
        ("x = 1\n", "x: unknown key"),
        ("[[token", "tokens_file"),
    ],
)
def test_a_file_of_tokens_is_right_or_refused(text: str, fault: str) -> None:
    """What is wrong is said, without the hash."""
    with pytest.raises(ConfigError) as caught:
        tokens.parse(text)
    assert fault in str(caught.value)
    assert hashlib.sha256(SECRET.encode()).hexdigest() not in str(caught.value)
