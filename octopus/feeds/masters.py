"""Where the leading master is: from a list, or from ZooKeeper; and the walk from a standby to the leader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from octopus.core.errors import BadUpstream, OctopusError, OrchestratorUnavailable, printable
from octopus.core.wire import address
from octopus.feeds.http import Answer, Http, origin

MAX_HOPS = 5
REDIRECTS = frozenset({301, 302, 307, 308})


class Masters(Protocol):
    """The masters of a cluster. ``changed`` is set when another may lead now."""

    changed: asyncio.Event

    async def candidates(self) -> tuple[str, ...]:
        """Return base URLs to try, the likeliest leader first. Raise OrchestratorUnavailable when none can be known."""
        ...

    def trusted(self, url: str) -> bool:
        """Whether our credentials may go there."""
        ...


class ListedMasters:
    """Masters from the configuration, as base URLs. Only they get credentials: a redirect elsewhere is followed without."""

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise ValueError("a cluster needs a master")
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._origins = frozenset(origin(url) for url in self._urls)
        self.changed = asyncio.Event()

    async def candidates(self) -> tuple[str, ...]:
        """Return the masters in the order of the configuration."""
        return self._urls

    def trusted(self, url: str) -> bool:
        """Whether the URL is on one of the listed masters."""
        return origin(url) in self._origins


class LeaderWalk:
    """One way from a master to the leader: no place twice, few hops, never from https down to http."""

    def __init__(self, start: str) -> None:
        self.base = start
        self._been = {origin(start)}

    def to(self, base: str) -> None:
        """Go on to ``base``. Raise BadUpstream when that leads nowhere."""
        try:
            scheme, host, _ = origin(base)
        except ValueError as error:
            raise BadUpstream(self.base, "sends us to no address", base) from error
        if scheme not in {"http", "https"} or not host or (self.base.startswith("https:") and scheme != "https"):
            raise BadUpstream(self.base, "sends us to a place we do not go", base)
        if origin(base) in self._been or len(self._been) > MAX_HOPS:
            raise BadUpstream(self.base, "masters send us in a circle", base)
        self._been.add(origin(base))
        self.base = base

    def redirected(self, location: str) -> None:
        """Follow a ``Location``; without a scheme (``//host:port/path``) the current one is kept (Mesos 1.0 on)."""
        try:
            parts = urlsplit(urljoin(self.base + "/", location))
        except ValueError as error:
            raise BadUpstream(self.base, "a Location that is no URL", location) from error
        self.to(f"{parts.scheme}://{parts.netloc}")

    def told(self, pid: str) -> None:
        """Go on to the leader a standby names by its pid (Mesos to 0.28)."""
        _, ip, port = address(pid)
        if not ip:
            raise OrchestratorUnavailable(f"{self.base}: no master leads")
        host = f"[{ip}]" if ":" in ip else ip
        self.to(f"{urlsplit(self.base).scheme}://{host}:{port}")


class Leader:
    """Asks the leading master, wherever it is by now; remembers where it was."""

    def __init__(self, http: Http, masters: Masters) -> None:
        self.masters = masters
        self._http = http
        self._last = ""

    async def walks(self) -> tuple[LeaderWalk, ...]:
        """Return the ways to try: from the last leader, then from every candidate. Raise OrchestratorUnavailable."""
        known = await self.masters.candidates()
        return tuple(LeaderWalk(base) for base in dict.fromkeys([*([self._last] if self._last else []), *known]))

    def found(self, base: str) -> None:
        """Remember where the leader is."""
        self._last = base

    @contextlib.asynccontextmanager
    async def ask(
        self,
        walk: LeaderWalk,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Give the answer at the end of the redirects. ``path`` is asked everywhere: 1.0 loses the query when it redirects.

        Raise BadUpstream, OrchestratorUnavailable.
        """
        async with contextlib.AsyncExitStack() as stack:
            while True:
                url = walk.base + path
                opened = self._http.open(
                    method, url, trusted=self.masters.trusted(url), headers=headers, content=content, read_timeout=read_timeout
                )
                answer = await stack.enter_async_context(opened)
                if answer.status not in REDIRECTS:
                    break
                walk.redirected(answer.headers.get("Location", ""))
                await stack.aclose()
            yield answer

    def refusal(self, answer: Answer) -> OrchestratorUnavailable:
        """Return the error for a status that is not the one wanted."""
        hint = ""
        if answer.status == 401 and self.masters.trusted(answer.url):
            hint = " (wrong username or password?)"
        elif answer.status == 401:
            hint = " (not one of the configured masters, so no password was sent)"
        return OrchestratorUnavailable(f"{answer.url}: HTTP {answer.status}{hint}")


def last_error(errors: Sequence[OctopusError]) -> OctopusError:
    """Return one error for all the masters that failed."""
    if len(errors) == 1:
        return errors[0]
    return OrchestratorUnavailable("; ".join(printable(str(error), 300) for error in errors) or "no master is known")
