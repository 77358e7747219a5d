"""The page of capacity: what is used and free, how it lies in pieces, and what would become of an app."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from octopus.admin import asking, charts
from octopus.admin.access import TOKEN_FIELD, Access, Visitor
from octopus.admin.login import fields
from octopus.admin.ports import Ports
from octopus.admin.rendering import Pages
from octopus.core.errors import InvalidDocument, OctopusError, Refused, Unavailable
from octopus.core.resources import count
from octopus.core.usage import Use

RESOURCES = ("cpus", "mem", "disk", "ports")
MOST_REFUSALS = 100
"""Agents that are named with why they refuse; the others are counted by reason."""
MOST_APPS = 50
"""Apps that are shown with what they really use."""
MAX_DIGITS = 9


class CapacityPages:
    """Its routes."""

    def __init__(self, ports: Ports, access: Access, pages: Pages) -> None:
        self._ports = ports
        self._access = access
        self._pages = pages

    def routes(self) -> list[Route]:
        """Return them."""
        return [Route("/capacity", self.show), Route("/capacity/simulate", self.simulate, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """Show the report."""
        return await self._page(request, await self._access.visitor(request))

    async def simulate(self, request: Request) -> Response:
        """Show what would become of an app."""
        visitor = await self._access.visitor(request)
        form = await fields(request)
        self._access.meant(visitor, request, form.get(TOKEN_FIELD, ""))
        try:
            found = await self._ports.capacity.simulate(_question(form))
        except InvalidDocument as error:
            return await self._page(request, visitor, 422, form=form, faults=error.faults)
        except (Refused, Unavailable) as error:
            return await self._page(request, visitor, error.http_status, form=form, faults=[("", error.notice)])
        return await self._page(request, visitor, form=form, outcomes=[_outcome(one) for one in found.outcomes[:100]])

    async def _page(self, request: Request, visitor: Visitor, status: int = 200, **values: Any) -> Response:
        begin, limit, text = int(asking.cursor(request) or 0), asking.limit(request, 50), asking.text(request, "text")
        try:
            report: Any = await self._ports.capacity.report()
        except OctopusError as error:
            return self._pages.render(request, "capacity.html", visitor, status, report=None, notice=error.notice, **_empty() | values)
        agents = [line for line in report.agents if text.casefold() in line.hostname.casefold()]
        usage = self._ports.capacity.usage()
        busy = usage.agents if usage else {}
        history = self._ports.capacity.history()
        return self._pages.render(
            request,
            "capacity.html",
            visitor,
            status,
            **_empty()
            | {
                "report": report,
                "sums": [(name, report.sums[name], _sum_bar(report.sums[name])) for name in RESOURCES if name in report.sums],
                "agents": [
                    (line, [(name, *_agent_bar(line, name, busy.get(line.agent))) for name in RESOURCES])
                    for line in agents[begin : begin + limit]
                ],
                "apps": idlest(usage.apps if usage else {}),
                "more_apps": max(0, len(usage.apps) - MOST_APPS) if usage else 0,
                "next": str(begin + limit) if begin + limit < len(agents) else "",
                "shown": len(agents),
                "scatter": charts.scatter([(line.hostname, line.free.cpus, line.free.mem) for line in report.agents if not line.withheld]),
                "lines": {name: charts.line([values[name] for _, values in history if name in values]) for name in ("cpus", "mem")},
                "history": history,
            }
            | values,
        )


def _empty() -> dict[str, Any]:
    return {"form": {}, "faults": (), "outcomes": None, "notice": ""}


def _sum_bar(one: Any) -> list[charts.Part]:
    away = sum(one.unavailable.values())
    return charts.bar(one.total, [("used", one.used), ("away", away)])


def _agent_bar(line: Any, name: str, use: Use | None) -> tuple[list[charts.Part], int, int, int | None]:
    """Return the bar of one resource of one agent, what is used, what there is, and what is really used where that is known."""
    total, used, free = (count(of.ports) if name == "ports" else int(getattr(of, name)) for of in (line.total, line.used, line.free))
    away = total - used if line.withheld else max(0, total - used - free)
    busy = really_used(use).get(name) if use else None
    parts = charts.bar(total, [("used", used), ("away", away)])
    return parts + (charts.bar(total, [("busy", busy)]) if busy is not None else []), used, total, busy


def really_used(use: Use) -> dict[str, int]:
    """Return what containers use, in the thousandths of the resources; no CPU where none was read twice yet."""
    cpus = {"cpus": round(use.cpus * 1000)} if use.rated else {}
    return cpus | {"mem": round(use.memory * 1000 / (1 << 20))}


def idlest(apps: dict[str, Use]) -> list[tuple[str, Use, dict[str, int]]]:
    """Return apps with what they really use, those first whose tasks reserve most CPU that they do not use."""
    known = [(app, use, really_used(use)) for app, use in apps.items()]
    return sorted(known, key=lambda one: (one[2].get("cpus", 0) - one[1].reserved.cpus, one[0]))[:MOST_APPS]


def _question(form: dict[str, str]) -> bytes:
    """Return the form as the API's body. Raise InvalidDocument."""
    asked: dict[str, Any] = {}
    number = form.get("instances", "").strip()
    if number:
        if not number.isascii() or not number.isdecimal() or len(number) > MAX_DIGITS:
            raise InvalidDocument([("instances", f"is no number of at most {MAX_DIGITS} digits")])
        asked["instances"] = int(number)
    document, name = form.get("document", "").strip(), form.get("id", "").strip()
    if document:
        try:
            msgspec.json.decode(document)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise InvalidDocument([("", f"Invalid JSON: {error}")]) from error
        asked["apps"] = msgspec.Raw(document.encode())
    elif name:
        asked["id"] = name
    return msgspec.json.encode(asked)


def _outcome(one: Any) -> dict[str, Any]:
    refusals = one.upgrade.stuck if one.upgrade is not None else one.placement.refusals
    counted: dict[str, int] = {}
    for each in refusals:
        reason = str(each.reasons[0].value) if each.reasons else ""
        counted[reason] = counted.get(reason, 0) + 1
    return {
        "placement": one.placement,
        "upgrade": one.upgrade,
        "fits": one.fits,
        "refusals": refusals[:MOST_REFUSALS],
        "reasons": sorted(counted.items(), key=lambda item: -item[1]),
        "where": one.placement.where[:MOST_REFUSALS],
        "more": max(0, len(one.placement.where) - MOST_REFUSALS),
    }
