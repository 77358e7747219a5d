"""A task group's errors become the one that is told."""

from __future__ import annotations

from octopus.core.errors import BadUpstream, ContainerUnavailable
from octopus.core.groups import ours


def test_the_first_of_ours_stands_for_all() -> None:
    """However deep it lies."""
    first = ContainerUnavailable("first")
    assert ours(ExceptionGroup("", [ExceptionGroup("", [first]), BadUpstream("there", "later")])) is first


def test_a_bug_among_them_is_not_hidden() -> None:
    """The group stays as it is."""
    group = ExceptionGroup("", [ContainerUnavailable("first"), ZeroDivisionError()])
    assert ours(group) is group
