"""The admin's server over real HTTP: where it listens, what it tells monitoring, and what holds for every answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry, Gauge
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from octopus.admin import probes
from octopus.admin.probes import Dependency
from octopus.admin.server import AdminServer
from octopus.admin.web import MAX_BODY, application
from octopus.core.errors import ConfigError
from octopus.demo.certificates import Authority

FINE = Dependency(name="directory", ready=True, age=1.25)
BROKEN = Dependency(name="mesos", ready=False, why="not read yet", error="http://secret.example: connection refused")


async def who(request: Request) -> JSONResponse:
    """Tell whom the request comes from, as the application sees it, and how much it brought."""
    body = await request.body()
    return JSONResponse({"client": request.client.host if request.client else "", "scheme": request.url.scheme, "bytes": len(body)})


async def bug(request: Request) -> JSONResponse:
    """Fail as no code should."""
    raise RuntimeError("pass-word")


@asynccontextmanager
async def served(
    *dependencies: Dependency, registry: CollectorRegistry | None = None, body_time: float = 60, **options: Any
) -> AsyncIterator[str]:
    """Serve the probes and two routes of the test's own; give the address."""

    async def asked() -> Sequence[Dependency]:
        return dependencies

    own = [Route("/who", who, methods=["GET", "POST"]), Route("/bug", bug)]
    app = application([*probes.routes(asked, registry or CollectorRegistry()), *own], body_time=body_time)
    server = AdminServer(app, host="127.0.0.1", port=0, **options)
    running = asyncio.create_task(server.run())
    try:
        host, port = await server.address()
        yield f"{host}:{port}"
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_it_is_alive_and_says_what_it_waits_for() -> None:
    """/readyz names each dependency, and is 503 while one is missing, with a word why; the whole error is not told to strangers."""
    async with served(FINE, BROKEN) as at, httpx.AsyncClient(base_url=f"http://{at}") as client:
        assert (await client.get("/healthz")).text == "ok\n"
        found = await client.get("/readyz")
    assert found.status_code == 503
    fine = {"name": "directory", "ready": True, "age": 1.2, "why": ""}
    broken = {"name": "mesos", "ready": False, "age": None, "why": "not read yet"}
    assert found.json() == {"ready": False, "dependencies": [fine, broken]}


async def test_it_is_ready_when_all_it_needs_is_there() -> None:
    """Then a load balancer may send people."""
    async with served(FINE) as at, httpx.AsyncClient() as client:
        assert (await client.get(f"http://{at}/readyz")).status_code == 200


async def test_it_renders_the_registry_it_was_given() -> None:
    """Whoever fills it needs to know nothing of HTTP."""
    registry = CollectorRegistry()
    Gauge("octopus_sessions", "Live sessions.", registry=registry).set(3)
    async with served(registry=registry) as at, httpx.AsyncClient() as client:
        assert "octopus_sessions 3.0" in (await client.get(f"http://{at}/metrics")).text


async def test_every_answer_is_fenced_in() -> None:
    """Also one that is an error: no inline script, no other host, no frame, no cache."""
    async with served() as at, httpx.AsyncClient(base_url=f"http://{at}") as client:
        for path in ("/healthz", "/nowhere", "/bug"):
            headers = (await client.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"], path
            assert "unsafe-inline" not in headers["content-security-policy"]
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store"), path


async def test_a_bug_is_told_to_nobody() -> None:
    """The answer says that there is one, and nothing of it."""
    async with served() as at, httpx.AsyncClient() as client:
        found = await client.get(f"http://{at}/bug")
    assert (found.status_code, found.json()) == (500, {"error": "internal error"})


async def test_a_request_without_end_is_cut_off() -> None:
    """Whoever sends more than any document needs is refused, not buffered."""
    async with served() as at, httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(f"http://{at}/who", content=b"x" * 1000)).json()["bytes"] == 1000
        assert (await client.post(f"http://{at}/who", content=b"x" * (MAX_BODY + 1))).status_code == 413


async def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    """Neither its head, at the first request or a later one, nor its body: whoever just holds connections takes the place of nobody."""
    begun = b"GET /who HTTP/1.1\r\nHost: x\r\n"
    body = b"POST /who HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
    cases: tuple[tuple[bytes, list[bytes]], ...] = ((b"", []), (begun, []), (begun + b"\r\n" + begun, [b"200"]), (body, [b"408"]))
    async with served(head_time=1, body_time=1) as at:
        for sent, answered in cases:
            reader, writer = await asyncio.open_connection(*at.split(":"))
            writer.write(sent)
            told = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert re.findall(rb"HTTP/1.1 (\d+)", told) == answered, sent


async def test_a_client_that_leaves_is_no_bug() -> None:
    """In the middle of its body: nobody is alarmed by it."""
    with structlog.testing.capture_logs() as logged:
        async with served() as at:
            _, writer = await asyncio.open_connection(*at.split(":"))
            writer.write(b"POST /who HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://{at}/who")).status_code == 200
    assert [line["event"] for line in logged] == ["admin listens"]


async def test_a_slash_too_many_leads_nowhere() -> None:
    """Least of all to the host that the request names."""
    async with served() as at, httpx.AsyncClient(base_url=f"http://{at}") as client:
        found = await client.get("/who/", headers={"Host": "evil.example"})
    assert (found.status_code, "location" in found.headers) == (404, False)


async def test_only_a_named_proxy_says_who_somebody_is() -> None:
    """Anybody else's X-Forwarded-For is their own invention."""
    forged = {"x-forwarded-for": "10.1.2.3", "x-forwarded-proto": "https"}
    for proxies, client_seen, scheme in (
        ((), "127.0.0.1", "http"),
        (("192.0.2.0/24",), "127.0.0.1", "http"),
        (("127.0.0.0/8",), "10.1.2.3", "https"),
    ):
        async with served(trusted_proxies=proxies) as at, httpx.AsyncClient() as client:
            found = await client.get(f"http://{at}/who", headers=forged)
        assert (found.json()["client"], found.json()["scheme"]) == (client_seen, scheme)
        assert ("strict-transport-security" in found.headers) is (scheme == "https")


async def test_it_speaks_tls_by_files(tls_authority: Authority) -> None:
    """And then says so to browsers."""
    files = tls_authority.issue("admin", hosts=["127.0.0.1"])
    async with served(tls_cert=files.cert, tls_key=files.key) as at:
        context = ssl.create_default_context(cafile=files.ca)
        async with httpx.AsyncClient(verify=context) as client:
            found = await client.get(f"https://{at}/healthz")
    assert (found.status_code, "strict-transport-security" in found.headers) == (200, True)


async def test_a_port_that_is_taken_is_said_in_a_line() -> None:
    """The operator reads which key, which address and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = AdminServer(application([]), host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"\[admin\] listen: cannot listen on 127\.0\.0\.1:\d+: .*in use"):
            await server.run()
