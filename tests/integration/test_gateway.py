"""Sessions through the gateway with OpenSSH's own client: what docker exec and ssh itself would do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.parts.gateway import GatewayPart, gateway_part


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        yield part


async def test_command_gives_output_errors_and_status_apart(part: GatewayPart) -> None:
    """stdout, stderr and the exit status arrive as the command gave them."""
    ended = await part.ssh.run("t", "echo out; echo err >&2; exit 7", key=part.key)
    assert (ended.status, ended.stdout, ended.stderr) == (7, b"out\n", b"err\n")
