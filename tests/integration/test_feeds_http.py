"""Everything httpx and the network can raise leaves the feeds' HTTP as an error of ours."""

from __future__ import annotations

import inspect

import httpx
import pytest

from octopus.core.errors import BadUpstream, ContainerUnavailable, OrchestratorUnavailable
from octopus.core.inventory import Agent
from octopus.feeds.agents import AgentStates
from octopus.feeds.http import Http, _translated, origin
from tests.integration.http_peers import always, peer
from tests.wire_data import mesos

KINDS = [kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, (httpx.TransportError, httpx.DecodingError))]
NO_PLACES = [
    "http://",
    "http://[",
    "nonsense",
    "ftp://x/",
    "http://127.0.0.1:1/",
    "http://127.0.0.1:99999/",
    "http://\x00/",
    "http://ex ample/",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_transport_error_has_one_of_ours(kind: type[Exception]) -> None:
    """Timeouts and connections are unavailable, broken protocol is the peer's fault."""
    ours = _translated(kind("text\x1b[2J"), "http://m1")
    assert isinstance(ours, (BadUpstream, OrchestratorUnavailable))
    assert "\x1b" not in str(ours)


@pytest.mark.parametrize("url", NO_PLACES)
async def test_a_place_that_is_none_is_an_error_of_ours(url: str) -> None:
    """Whatever is wrong with it, and the cause is kept."""
    http = Http(connect_timeout=1.0)
    with pytest.raises((BadUpstream, OrchestratorUnavailable)) as caught:
        await http.get(url, trusted=False)
    assert caught.value.__cause__ is not None
    await http.aclose()


def test_an_origin_is_scheme_host_and_port() -> None:
    """With the scheme's own port where none is said."""
    assert origin("HTTP://M1/state") == ("http", "m1", 80)
    assert origin("https://m1:8443") == ("https", "m1", 8443)
    assert origin("https://m1") == ("https", "m1", 443)


async def test_an_agent_tells_or_is_unavailable() -> None:
    """By any of its paths; no address, no such executor, a guard or garbage are ContainerUnavailable."""
    http = Http()
    states = AgentStates(http, timeout=2.0)
    framework, executor = "b3bd182c-c6d7-463e-8bf0-06cd5807df4e-0001", "server-0_10a_executor"
    async with peer(always(200, mesos("agent-state-0.27.0.json"))) as there:
        agent = Agent("S", "agent-1", "127.0.0.1", there.port, "slave(1)")
        assert await states.container_id(agent, framework, executor) == "6ce1f063-3838-49b9-b6aa-428127094507"
        assert there.paths() == ["/slave(1)/state.json"]
        with pytest.raises(ContainerUnavailable, match="knows no container"):
            await states.container_id(agent, framework, "other")
        assert set(there.paths()) == {"/slave(1)/state.json", "/state.json", "/slave(1)/state", "/state"}
        for handler in (always(401), always(200, b"<html>")):
            there.handler = handler
            with pytest.raises(ContainerUnavailable):
                await states.container_id(agent, framework, executor)
        with pytest.raises(ContainerUnavailable, match="no address"):
            await states.container_id(Agent("S", "agent-1"), framework, executor)
    await http.aclose()
