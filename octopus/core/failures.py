"""Errors on the wire: an error of ours as a value, and back, so that both ends of a call see the same type and notice."""

from __future__ import annotations

from octopus.core import errors
from octopus.core.errors import AmbiguousTarget, BadUpstream, OctopusError
from octopus.core.types import Value


class Failure(Value, frozen=True, kw_only=True):
    """An OctopusError by the name of its type. Exit status and level follow from the type."""

    error: str
    notice: str = ""
    message: str = ""
    candidates: tuple[str, ...] = ()
    source: str = ""


_NOT_PLAIN = (AmbiguousTarget, BadUpstream, errors.ConfigError, errors.InvalidDocument)
"""Errors with a constructor of their own; the last two are about files and never cross."""

_TYPES = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, OctopusError) and kind not in _NOT_PLAIN
}


def describe(error: OctopusError) -> Failure:
    """Return the error as a value."""
    return Failure(
        error=type(error).__name__,
        notice=error.notice,
        message=str(error),
        candidates=error.candidates if isinstance(error, AmbiguousTarget) else (),
        source=error.source if isinstance(error, BadUpstream) else "",
    )


def revive(failure: Failure) -> OctopusError:
    """Return the error that ``describe`` was given; an unknown type becomes an OctopusError, which is our bug (70)."""
    if failure.error == AmbiguousTarget.__name__:
        return AmbiguousTarget(failure.message, notice=failure.notice, candidates=failure.candidates)
    if failure.error == BadUpstream.__name__:
        return BadUpstream(failure.source, failure.message.removeprefix(f"{failure.source}: "))
    kind = _TYPES.get(failure.error, OctopusError)
    return kind(failure.message, notice=failure.notice)
