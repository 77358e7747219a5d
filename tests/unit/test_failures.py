"""Errors survive the wire."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from octopus.core import errors
from octopus.core.errors import AmbiguousTarget, BadUpstream, ConfigError, InvalidDocument, OctopusError
from octopus.core.failures import Failure, describe, revive

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, OctopusError)]
PLAIN = [kind for kind in KINDS if kind not in (AmbiguousTarget, BadUpstream, ConfigError, InvalidDocument)]


def over_the_wire(error: OctopusError) -> OctopusError:
    """Return what the other side raises."""
    return revive(msgspec.json.decode(msgspec.json.encode(describe(error)), type=Failure))


@pytest.mark.parametrize("kind", PLAIN)
def test_type_notice_and_message_come_back(kind: type[OctopusError]) -> None:
    """Every error keeps its type, and with it its exit status, its notice and its message."""
    back = over_the_wire(kind("for the operator", notice="for the person"))
    assert type(back) is kind
    assert (str(back), back.notice) == ("for the operator", "for the person")


def test_candidates_come_back() -> None:
    """An ambiguous name brings its candidates along."""
    back = over_the_wire(AmbiguousTarget(candidates=["web.1", "web.2"]))
    assert isinstance(back, AmbiguousTarget)
    assert back.candidates == ("web.1", "web.2")


def test_source_comes_back() -> None:
    """A broken peer stays named, and its message is not doubled."""
    back = over_the_wire(BadUpstream("http://m1:5050", "no leader", b"\x1bx"))
    assert isinstance(back, BadUpstream)
    assert back.source == "http://m1:5050"
    assert str(back) == "http://m1:5050: no leader: \\x1bx"


def test_unknown_type_is_our_bug() -> None:
    """An error this side does not know ends as an internal error, without its text for the person."""
    back = revive(Failure(error="KeyError", message="x"))
    assert type(back) is OctopusError
    assert (back.exit_status, back.notice) == (70, "internal error")
