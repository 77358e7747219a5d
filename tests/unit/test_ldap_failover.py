"""Which server is asked first."""

from __future__ import annotations

import pytest

from octopus.core.errors import DirectoryUnavailable
from octopus.identity.ldap_failover import Failover, ServerOrder
from tests.fake_directory import FakeClock


def test_a_server_that_failed_is_asked_last_for_a_while() -> None:
    """The order of the configuration holds, but for failures of the last half minute."""
    clock = FakeClock()
    order = ServerOrder("abc", retry_after=30, clock=clock)
    assert order.now() == ("a", "b", "c")
    order.failed("a")
    order.failed("b")
    assert order.now() == ("c", "a", "b")
    order.answered("b")
    assert order.now() == ("b", "c", "a")
    clock.now += 31
    assert order.now() == ("a", "b", "c")


async def test_too_many_questions_at_once_are_turned_away() -> None:
    """The queue in front of the threads has an end."""
    failover = Failover("a", max_waiting=0)
    with pytest.raises(DirectoryUnavailable, match="waiting"):
        await failover.ask(str, within=1)
    await failover.aclose()


def test_no_server_is_no_directory() -> None:
    """An empty list is a fault at the start."""
    with pytest.raises(ValueError, match="at least one"):
        Failover([])
