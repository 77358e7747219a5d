"""All of the admin put together: pages, API, probes and static files over the ports it was given."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from octopus.admin import openapi, probes
from octopus.admin.access import Access
from octopus.admin.api import Api
from octopus.admin.capacity_pages import CapacityPages
from octopus.admin.catalogue import Catalogue
from octopus.admin.login import Login
from octopus.admin.pages import PlainPages, problem_page
from octopus.admin.ports import Ports
from octopus.admin.rendering import HERE, Pages
from octopus.admin.session_pages import SessionPages
from octopus.admin.tokens import Tokens
from octopus.admin.visits import Visits
from octopus.admin.web import application

KEY_BYTES = 32


@dataclass(frozen=True)
class Site:
    """The application, and what lets go of answers that have no end when it is to stop."""

    app: Starlette
    stop: Callable[[], None]


def site(
    ports: Ports,
    registry: CollectorRegistry,
    *,
    viewers: Sequence[str],
    operators: Sequence[str],
    report: type,
    simulation: type,
    tokens: Tokens | None = None,
    idle: float = 1800.0,
    lifetime: float = 12 * 3600.0,
) -> Site:
    """Return it; ``report`` and ``simulation`` are the types of what capacity answers, ``idle`` and ``lifetime`` seconds."""
    new_id = partial(secrets.token_urlsafe, 24)
    visits = Visits(key=secrets.token_bytes(KEY_BYTES), new_id=new_id, idle=idle, lifetime=lifetime)
    access = Access(ports.people, visits, tokens or Tokens(), viewers=viewers, operators=operators)
    pages = Pages(Catalogue.read(), version=ports.version, clock=ports.clock)
    api = Api(ports, access, openapi.document(version=ports.version, report=report, simulation=simulation))
    sessions = SessionPages(ports, access, pages)
    routes = [
        *probes.routes(ports.dependencies, registry),
        api.mount(),
        Mount("/static", StaticFiles(directory=HERE / "static")),
        *Login(ports, access, pages, new_id=new_id).routes(),
        *PlainPages(ports, access, pages).routes(),
        *sessions.routes(),
        *CapacityPages(ports, access, pages).routes(),
    ]
    return Site(application(routes, problem_page(pages)), sessions.stop)
