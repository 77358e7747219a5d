"""Whether somebody who came in may still be there: the directory is asked again, and what it says holds."""

from __future__ import annotations

import time

import pytest
from starlette.requests import Request

from octopus.admin.access import CHECK_AGAIN, Access, NotLoggedIn, own_site
from octopus.admin.tokens import Tokens
from octopus.admin.visits import Role, Visits
from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, OctopusError
from octopus.core.types import Identity


class Town:
    """A directory of one person and a clock, both set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.groups = frozenset({"Platform"})
        self.trouble: OctopusError | None = None
        self.asked = 0
        visits = Visits(key=b"k" * 32, clock=self.clock, new_id=lambda: "v1")
        self.access = Access(self, visits, Tokens(), viewers=["dev"], operators=["platform"], clock=self.clock)
        identity = Identity(login="alice", groups=self.groups, method="password")
        self.mark = visits.mark(visits.begin(identity, Role.OPERATOR).id)

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def authenticate(self, login: str, password: str, address: str) -> Identity:
        """Know nobody by a password."""
        raise AuthenticationFailed

    async def look_up(self, login: str) -> Identity:
        """Return alice as she is now."""
        self.asked += 1
        if self.trouble:
            raise self.trouble
        return Identity(login=login, groups=self.groups, method="password")

    async def role(self) -> Role:
        """Return what alice's browser may do."""
        return (await self.access.visitor(request(cookie=f"octopus={self.mark}"))).role


def request(**headers: str) -> Request:
    """Return a request with these headers."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "GET", "scheme": "http", "path": "/", "query_string": b"", "headers": raw, "server": ("h", 80)}
    )


def test_the_machines_clock_does_not_make_a_visit_last() -> None:
    """Whoever sets it back keeps nobody logged in, and nobody's account unasked for."""
    visits = Visits(key=b"k" * 32, new_id=lambda: "v1")
    before = time.monotonic()
    visit = visits.begin(Identity(login="alice", method="password"), Role.VIEWER)
    assert before <= visit.began == visit.checked <= time.monotonic()


async def test_groups_are_those_of_now() -> None:
    """Somebody who leaves a group loses what it gave within a minute, without another login."""
    town = Town()
    assert await town.role() is Role.OPERATOR
    town.groups = frozenset({"DEV"})
    assert (await town.role(), town.asked) == (Role.OPERATOR, 0)
    town.now += CHECK_AGAIN
    assert (await town.role(), town.asked) == (Role.VIEWER, 1)
    assert (await town.role(), town.asked) == (Role.VIEWER, 1)


@pytest.mark.parametrize("gone", ["no group", "disabled"])
async def test_who_may_not_come_any_more_is_out(gone: str) -> None:
    """For good: the same cookie does not come back when the account does."""
    town = Town()
    town.now += CHECK_AGAIN
    if gone == "disabled":
        town.trouble = AuthenticationFailed("the account is disabled")
    else:
        town.groups = frozenset({"others"})
    with pytest.raises(NotLoggedIn):
        await town.role()
    town.trouble, town.groups = None, frozenset({"platform"})
    with pytest.raises(NotLoggedIn):
        await town.role()


async def test_a_directory_that_is_down_throws_nobody_out() -> None:
    """Just then somebody has to look at the pages; it is asked again at each request."""
    town = Town()
    town.now += CHECK_AGAIN
    town.trouble = DirectoryUnavailable("no server answers")
    assert (await town.role(), await town.role(), town.asked) == (Role.OPERATOR, Role.OPERATOR, 2)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"host": "o:1", "origin": "http://o:1"}, True),
        ({"host": "o:1", "origin": "http://o:2"}, False),
        ({"host": "o:1", "origin": "null"}, False),
        ({"host": "o:1", "origin": "http://[o:1"}, False),
        ({"host": "o:1", "sec_fetch_site": "same-origin"}, True),
        ({"host": "o:1", "sec_fetch_site": "same-site"}, False),
        ({"host": "o:1", "sec_fetch_site": "cross-site"}, False),
    ],
)
def test_another_site_is_told_from_this_one(headers: dict[str, str], own: bool) -> None:
    """By what browsers say of where a request comes from."""
    assert own_site(request(**headers)) is own
