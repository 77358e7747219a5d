"""The pages ask the company's directory, over TLS, as ssh does."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from octopus.demo.engines import free_port
from tests.e2e.people import People, Person
from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.parts.directory import Slapd

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_directory_lets_people_into_the_pages(scene: Scene, people: People, company: Slapd) -> None:
    """By their LDAP password, in the role of their LDAP groups; a wrong one is refused, and each login is on the trail."""
    port = free_port("127.0.0.1")
    sections: dict[str, Any] = {"admin": {"listen": f"127.0.0.1:{port}", "viewers": ["web"], "operators": ["platform"]}}
    sources = (ldap(company), behind(scene.cluster), over_tls(scene.engines[0]))
    async with gateway_for(people, *sources, sections) as gateway:
        await gateway.serves("web_front", key=people.alice.key)
        base = f"http://127.0.0.1:{port}"
        assert await seen_by(base, people.alice, people.alice.password) == (303, "operator")
        assert await seen_by(base, people.bob, people.bob.password) == (303, "viewer")
        assert await seen_by(base, people.bob, "wrong") == (401, "")
        logins = [event for event in gateway.trail.events if event["event"] == "admin.login"]
    assert [(event["login"], event["outcome"]) for event in logins] == [("alice", "accepted"), ("bob", "accepted"), ("bob", "refused")]


async def seen_by(base: str, person: Person, password: str) -> tuple[int, str]:
    """Log in; return the answer's status and the role that the first page shows."""
    async with httpx.AsyncClient(base_url=base, timeout=30) as client:
        token = re.search(r'name="token" value="([^"]+)"', (await client.get("/login")).text)
        assert token
        answer = await client.post("/login", data={"login": person.login, "password": password, "token": token[1]})
        shown = re.search(rf"{person.login} · (\w+)", (await client.get("/")).text)
        return answer.status_code, shown[1] if shown else ""
