"""What Marathon would do with apps, one after the other: asked by document or by name, answered for people and pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Struct

from octopus.core.errors import InvalidDocument
from octopus.core.placement import Placement, View, place
from octopus.core.placement_app import App
from octopus.core.placement_deployment import Upgrade, upgrade
from octopus.core.placement_document import parse_apps
from octopus.core.placement_json import MOST_INSTANCES
from octopus.fleet.seen import Seen

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a document."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What becomes of one app: instances that are added, or an upgrade of those that run."""

    placement: Placement
    upgrade: Upgrade | None = None

    @property
    def fits(self) -> bool:
        """Whether it surely does."""
        return self.placement.fits and (self.upgrade is None or self.upgrade.finishes)


class Simulation(Struct, frozen=True, kw_only=True):
    """What becomes of all that was asked for, one after the other."""

    complete: bool
    notes: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def fits(self) -> bool:
        """Whether all of it surely does."""
        return all(outcome.fits for outcome in self.outcomes)


class Question(Struct, frozen=True, kw_only=True, tag="simulate"):
    """What is asked: a ``document`` of JSON as one would PUT it, else the ``id`` of an app or a group that Marathon has.

    ``more`` instances of each are added; None for what it asks for beyond what runs, and for the upgrade of a document's app that runs.
    """

    document: bytes | None = None
    id: str = ""
    more: int | None = None


class _Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /api/v1/capacity/simulate``: ``apps``, any document as one would PUT it, or ``id``."""

    apps: msgspec.Raw = msgspec.Raw()
    id: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    instances: Annotated[int, msgspec.Meta(ge=0, le=MOST_INSTANCES)] | None = None


def read_question(body: bytes) -> Question:
    """Return what the body of a request asks. Raise InvalidDocument with paths in it."""
    if len(body) > MAX_DOCUMENT:
        raise InvalidDocument([("", f"is longer than {MAX_DOCUMENT} bytes")])
    try:
        asked = msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise InvalidDocument([(path.rstrip("`").replace(".", "/"), text)]) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidDocument([("", f"Invalid JSON: {error}")]) from error
    if bool(bytes(asked.apps)) is bool(asked.id):
        raise InvalidDocument([("", 'expected either "apps" or "id"')])
    return Question(document=bytes(asked.apps) or None, id=asked.id, more=asked.instances)


def json_of(document: bytes) -> msgspec.Raw:
    """Return a document as a part of another. Raise InvalidDocument for what is no JSON."""
    try:
        msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidDocument([("", f"Invalid JSON: {error}")]) from error
    return msgspec.Raw(document)


def answer(seen: Seen, asked: Question) -> Simulation:
    """Return what becomes of what is asked. Raise InvalidDocument with Marathon's errors and their paths, NoSuchTarget."""
    apps = seen.named(asked.id) if asked.document is None else parse_apps(asked.document, seen.rules, seen.cluster.marathon.apps)
    return forecast(seen, apps, asked.more, documents=asked.document is not None and not _only_scales(asked.document))


def _only_scales(document: bytes) -> bool:
    """Tell whether nothing but the number of instances changes: Marathon then stops none (``AppDefinition.isOnlyScaleChange``)."""
    named = msgspec.json.decode(document)
    return isinstance(named, dict) and named.keys() == {"id", "instances"}


def forecast(seen: Seen, apps: Sequence[App], more: int | None, *, documents: bool = False) -> Simulation:
    """Return what becomes of these apps, one after the other: each finds what those before it have left.

    ``documents``: they are as somebody would PUT them. One that runs is then upgraded, unless ``more`` instances are to be added.
    """
    view = seen.view
    outcomes = []
    for app in apps:
        outcome, view = _one(seen, view, app, more, upgraded=documents and more is None)
        outcomes.append(outcome)
    return Simulation(complete=seen.complete, notes=seen.notes(), outcomes=tuple(outcomes))


def _one(seen: Seen, view: View, app: App, more: int | None, *, upgraded: bool) -> tuple[Outcome, View]:
    old = seen.old(app)
    known = seen.cluster.marathon.apps.get(app.id)
    if upgraded and old:
        # What an upgrade leaves when it is over is not looked at: those after it are placed as if it had not begun.
        placement, _ = place(app, view, 0)
        return Outcome(placement=placement, upgrade=upgrade(app, view, old)), view
    asked = max(0, app.instances - len(old)) if more is None else more
    placement, after = place(app, view, asked, seen.placed(known or app))
    return Outcome(placement=placement), after
