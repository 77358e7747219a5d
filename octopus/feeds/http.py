"""HTTP as the feeds need it: bounded in time and size, and our errors instead of httpx's."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from octopus.core.errors import BadUpstream, OrchestratorUnavailable, printable

INFLATE_STEP = 256 * 1024
"""Bytes inflated at once: a compressed bomb meets the limit before it meets our memory."""

MAX_BODY = 8 * 1024 * 1024


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL. Raise ValueError when it is none."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").casefold(), parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body has not been read. ``url`` is what was asked, for errors and logs."""

    url: str
    status: int
    headers: Mapping[str, str]
    _response: httpx.Response

    def pieces(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """Yield the body, inflated, as it comes. Raise BadUpstream past ``limit`` bytes or where it is cut, OrchestratorUnavailable."""
        return _inflated(self._response, limit, self.url)

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """Return the whole body. Raise BadUpstream when it is larger than ``limit`` or cut, OrchestratorUnavailable."""
        whole = bytearray()
        async for piece in self.pieces(limit):
            whole += piece
        return bytes(whole)


class Http:
    """A client for one kind of peer. Credentials go to ``trusted`` origins only; redirects are never followed by themselves.

    ``connect_timeout`` and ``read_timeout`` in seconds; the latter is the longest silence within an answer.
    """

    def __init__(
        self,
        *,
        username: str = "",
        password: str = "",
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        verify: Any = True,
        max_connections: int = 8,
    ) -> None:
        self._auth = httpx.BasicAuth(username, password) if username else None
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(read_timeout, connect=connect_timeout),
            verify=verify,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            headers={"Accept-Encoding": "gzip", "User-Agent": "octopus"},
        )

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        trusted: bool,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a request and give its answer; the connection goes back or is closed on leaving.

        ``trusted``: the credentials may go there. Raise OrchestratorUnavailable, BadUpstream.
        """
        try:
            origin(url)  # httpx lets a port above 65535 through, and the socket then raises what no caller expects
            request = self._client.build_request(method, url, headers=headers, content=content)
            if read_timeout is not None:
                request.extensions["timeout"] = {**request.extensions["timeout"], "read": read_timeout}
            response = await self._client.send(request, stream=True, auth=self._auth if trusted else None)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise _translated(error, url) from error
        try:
            yield Answer(url, response.status_code, response.headers, response)
        finally:
            with contextlib.suppress(httpx.HTTPError, OSError):
                await response.aclose()

    async def get(self, url: str, *, trusted: bool, limit: int = MAX_BODY, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Return status and body of a GET. Raise OrchestratorUnavailable, BadUpstream."""
        async with self.open("GET", url, trusted=trusted, headers=headers) as answer:
            return answer.status, await answer.body(limit)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


async def _inflated(response: httpx.Response, limit: int | None, url: str) -> AsyncIterator[bytes]:
    """Yield the body inflated in small steps; the length announced is held against the limit before anything is read."""
    announced = response.headers.get("Content-Length", "")
    if limit is not None and announced.isdecimal() and len(announced) < 20 and int(announced) > limit:
        raise BadUpstream(url, f"an answer of {announced} bytes, more than {limit}")
    inflate = zlib.decompressobj(wbits=47) if response.headers.get("Content-Encoding", "").casefold() == "gzip" else None
    total = 0
    try:
        async for raw in response.aiter_raw():
            for piece in _steps(inflate, raw):
                total += len(piece)
                if limit is not None and total > limit:
                    raise BadUpstream(url, f"an answer of more than {limit} bytes")
                yield piece
    except (httpx.HTTPError, httpx.StreamError, zlib.error, OSError) as error:
        raise _translated(error, url) from error
    if inflate is not None and not inflate.eof:
        raise BadUpstream(url, "half an answer")


def _steps(inflate: Any, raw: bytes) -> Any:
    if inflate is None:
        yield raw
        return
    while raw:
        piece = inflate.decompress(raw, INFLATE_STEP)
        raw = inflate.unconsumed_tail
        if piece:
            yield piece
        elif not raw:
            return


def _translated(error: Exception, url: str) -> Exception:
    """Return our error for one of httpx's (and of what lies below it)."""
    if isinstance(error, httpx.TimeoutException):
        return OrchestratorUnavailable(f"{url}: no answer in time ({type(error).__name__})")
    if isinstance(error, (httpx.ProtocolError, httpx.DecodingError, zlib.error)):
        return BadUpstream(url, "half an answer, or none that is HTTP", printable(str(error)))
    return OrchestratorUnavailable(f"{url}: {type(error).__name__}: {printable(str(error))}")


@contextlib.asynccontextmanager
async def in_time(seconds: float, url: str) -> AsyncIterator[None]:
    """Bound everything inside by ``seconds``. Raise OrchestratorUnavailable when they have passed."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise OrchestratorUnavailable(f"{url}: not done within {seconds:g} s") from error
