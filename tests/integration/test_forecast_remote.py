"""``octopus simulate --url`` against a server that answers as the gateway does: the same output, the same exit statuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from octopus.admin.server import AdminServer
from octopus.admin.web import answer as answered
from octopus.admin.web import application
from octopus.core.errors import AccessDenied, AuthenticationFailed, OrchestratorUnavailable
from octopus.fleet.seen import Seen
from octopus.fleet.simulation import answer, read_question
from tests.integration.test_forecast import Ended
from tests.unit.test_forecast import cluster

TOKEN = "tok-en_1"


async def simulate(request: Request) -> Response:
    """Answer for a cluster of two agents, to who has the token."""
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        raise AuthenticationFailed
    return answered(answer(Seen(cluster()), read_question(await request.body())))


async def denied(request: Request) -> Response:
    """Refuse."""
    raise AccessDenied


async def down(request: Request) -> Response:
    """Know nothing yet."""
    raise OrchestratorUnavailable


async def garbage(request: Request) -> Response:
    """Be another program."""
    return Response("<html>\x1b[2J", 500)


ROUTES = {"": simulate, "/denied": denied, "/down": down, "/garbage": garbage}


@contextlib.asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """Serve; give the URL."""
    routes = [Route(f"{at}/api/v1/capacity/simulate", handler, methods=["POST"]) for at, handler in ROUTES.items()]
    server = AdminServer(application(routes), host="127.0.0.1", port=0)
    running = asyncio.create_task(server.run())
    try:
        host, port = await server.address()
        yield f"http://{host}:{port}"
    finally:
        running.cancel()
        await asyncio.wait([running])


async def octopus(*arguments: str, environment: Mapping[str, str] | None = None, given: bytes = b"") -> Ended:
    """Run ``octopus simulate`` with the token in its environment, and without a configuration."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from octopus.cli import main; main()", "simulate", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **({"OCTOPUS_TOKEN": TOKEN} if environment is None else environment)},
    )
    out, err = await process.communicate(given)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def test_it_answers_as_without_a_gateway(tmp_path: Path) -> None:
    """A name, a document, standard input; JSON and sentences; 0 where it fits, 1 where not."""
    path = tmp_path / "app.json"
    path.write_text(json.dumps({"id": "/big", "cmd": "x", "cpus": 3, "mem": 10, "instances": 2, "portDefinitions": []}))
    async with gateway() as url:
        one = await octopus("/a", "-n", "1", "--url", url, "--json")
        assert (one.status, one.json["outcomes"][0]["placement"]["least"]) == (0, 1)
        two = await octopus(str(path), "--url", f"{url}/")
        assert (two.status, two.out.splitlines()[0]) == (1, "/big: 1 of 2 fit")
        three = await octopus("-", "--url", url, given=path.read_bytes())
        assert three.out == two.out


async def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """Never from the command line; without the right one it is 77."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    async with gateway() as url:
        assert (await octopus("/a", "--url", url, "--token-file", str(path), environment={})).status == 0
        assert (await octopus("/a", "--url", url, environment={})).status == 77
        assert (await octopus("/a", "--url", url, environment={"OCTOPUS_TOKEN": "other"})).status == 77
        typed = await octopus("/a", "--url", url, "--token", TOKEN, environment={})
        assert typed.status == 64
        assert TOKEN not in typed.err
        empty = await octopus("/a", "--url", url, "--token-file", str(tmp_path / "none"), environment={})
        assert (empty.status, empty.err.splitlines()[0].endswith("none: cannot be read: No such file or directory")) == (64, True)
        assert (await octopus("/a", "--url", url, environment={"OCTOPUS_TOKEN": "a\nb"})).status == 64


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"id": "/b", "cpus": "1"}, "/cpus: error.expected.jsnumber"),
        ({"id": "/b", "mem": -1}, "/mem: error.min"),
        ([{"id": "/b"}, {"cpus": 1}], "(1)/id: error.path.missing"),
        ({"id": "/b", "constraints": [["hostname", "UNIQ"]]}, "/constraints(0): operator must be one of"),
    ],
)
async def test_faults_of_a_document(document: object, said: str) -> None:
    """As Marathon tells them, with their paths, and 65."""
    async with gateway() as url:
        found = await octopus("-", "--url", url, given=json.dumps(document).encode())
    assert (found.status, found.out) == (65, "")
    assert said in found.err


async def test_what_is_no_json_is_not_sent() -> None:
    """It could become another request."""
    async with gateway() as url:
        found = await octopus("-", "--url", url, given=b'{"id": "/b"}, "id": "/a"')
    assert found.status == 65
    assert "Invalid JSON" in found.err


async def test_a_gateway_that_cannot_answer() -> None:
    """Each in its own exit status, and nothing of another's text acts on a terminal."""
    async with gateway() as url:
        asked = [("", "/nothing", 68), ("/denied", "/a", 77), ("/down", "/a", 69), ("/garbage", "/a", 76), ("/other", "/a", 68)]
        for at, name, status in asked:
            found = await octopus(name, "--url", f"{url}{at}")
            assert (found.status, found.out) == (status, ""), (at, found.err)
            assert "\x1b" not in found.err
    gone = await octopus("/a", "--url", url)
    assert gone.status == 69
    assert "does not answer" in gone.err
    assert (await octopus("/a", "--url", "nonsense")).status == 64
