"""Why a scaling by the UNIQUE daemon fails, and what such failures are counted as."""

from __future__ import annotations

from octopus.core.errors import (
    AccessDenied,
    AppLocked,
    BadUpstream,
    InvalidRequest,
    NoSuchTarget,
    OctopusError,
    OrchestratorUnavailable,
)


class Changed(InvalidRequest):
    """The app is not what was judged."""


class NotLeading(AccessDenied):
    """Another gateway may scale."""


FAILURES = (NoSuchTarget, AccessDenied, AppLocked, InvalidRequest, BadUpstream, OrchestratorUnavailable)
KINDS: dict[type[OctopusError], str] = {
    Changed: "changed",
    NotLeading: "not leading",
    AppLocked: "locked",
    NoSuchTarget: "gone",
    InvalidRequest: "invalid",
    AccessDenied: "denied",
}
"""What failures are counted as."""
NOBODYS_FAULT = frozenset({"changed", "not leading"})
"""What the next look sees by itself, without a pause."""
