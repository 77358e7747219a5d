"""What the UNIQUE daemon did, would do or refused, as values for pages, verbs and metrics."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from octopus.core.types import Value


class Did(StrEnum):
    """What became of one app at one moment."""

    SCALED = "scaled"
    WOULD_SCALE = "would_scale"
    REFUSED = "refused"


class Rescaled(Value, frozen=True, kw_only=True):
    """Marathon took another number of instances: the ``deployment`` it began, and the app's ``version`` from then on."""

    deployment: str
    version: str


class Action(Value, frozen=True, kw_only=True):
    """One entry of the history. ``instances`` Marathon had, ``wanted`` it was to have; ``why`` in plain words.

    ``time`` is RFC 3339, UTC; ``operator`` who asked, "" the daemon by itself; ``deployment`` Marathon's id of what it began.
    ``hosts`` are those the sentence is about, some of many.
    """

    time: str
    app: str
    did: Did
    instances: int
    wanted: int
    why: str
    operator: str = ""
    deployment: str = ""
    hosts: tuple[str, ...] = ()


FAILURES = ("audit", "changed", "denied", "gone", "invalid", "locked", "not leading", "reverted", "unavailable", "unplaced")
"""The kinds of tries and checks that went wrong."""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """How often since the start: looks at the cluster, apps scaled, apps that would have been, refusals (each new reason once).

    ``failures`` are tries and checks that went wrong, by kind of FAILURES.
    """

    looks: int = 0
    scaled: int = 0
    would_scale: int = 0
    refused: int = 0
    failures: dict[str, int] = {}


class Lead(Value, frozen=True, kw_only=True):
    """Whether this gateway is the one that may scale; ``who`` is, as far as known; ``problem`` is why nobody can tell, "" none."""

    mine: bool
    who: str = ""
    problem: str = ""


def one_more(counters: Counters, did: Did) -> Counters:
    """Return the counters after one more action."""
    match did:
        case Did.SCALED:
            return msgspec.structs.replace(counters, scaled=counters.scaled + 1)
        case Did.WOULD_SCALE:
            return msgspec.structs.replace(counters, would_scale=counters.would_scale + 1)
    return msgspec.structs.replace(counters, refused=counters.refused + 1)


def one_failure(counters: Counters, kind: str) -> Counters:
    """Return the counters after one more failure of a kind."""
    return msgspec.structs.replace(counters, failures={**counters.failures, kind: counters.failures.get(kind, 0) + 1})
