"""The API and its document are one: what the document allows is answered as it says, and nothing of it is a bug of ours."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.parts.admin import Admin, admin, bearer, live_session

SCHEMATHESIS = Path(sys.executable).with_name("st")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_every_path_of_the_product_is_described(tmp_path: Path) -> None:
    """With a schema for its answer, and a version of OpenAPI that tools read."""
    async with admin(tmp_path) as here:
        document = (await here.client.get("/api/v1/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        *("/sessions", "/sessions/{session}", "/sessions/{session}/kill", "/tasks", "/capacity", "/capacity/simulate"),
        *("/unique", "/unique/scale", "/audit"),
    }
    for name, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["responses"]["200"]["content"]["application/json"]["schema"], name


@pytest.mark.timeout(300)
async def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    """Neither by examples of the document nor by what it forbids."""
    async with admin(tmp_path) as here:
        here.plane.live.add(live_session("s-1"))
        status, said = await _asked(here, tmp_path)
    assert status == 0, said


async def _asked(here: Admin, folder: Path) -> tuple[int | None, str]:
    """Run schemathesis as a stranger with a token; what is 503 by design is no fault."""
    document = (await here.client.get("/api/v1/openapi.json")).json()
    document["servers"] = [{"url": f"{here.client.base_url}/api/v1"}]
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text('[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 503]\n')
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS,
        *("--config-file", folder / "schemathesis.toml", "run", folder / "openapi.json", "--url", f"{here.client.base_url}/api/v1"),
        *("-H", f"Authorization: {bearer()['authorization']}", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "15", "--seed", "1", "--generation-deterministic", "--no-color"),
        *("--request-timeout", "60", "--suppress-health-check", "all"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode("utf-8", "replace")[-6000:]
