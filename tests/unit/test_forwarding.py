"""Only the task's own ports are forwarded, whatever the person, the image or another task says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from octopus.core.errors import AccessDenied, InvalidRequest
from octopus.core.forwarding import AtAgent, Connectivity, InContainer, Network, Side, side, way
from octopus.core.types import ContainerClue, EngineAddress, Target
from octopus.engine.networks import connectivity
from octopus.engine.wire import Container, decode

TASK = "logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799"
TARGET = Target(
    app="/logging/logstash",
    task=TASK,
    agent="agent-7.corp.example",
    engine=EngineAddress(url="unix:///nowhere"),
    clue=ContainerClue(),
    ports=(31001, 31002),
    agent_ip="10.0.0.7",
)
HOST = Connectivity(network=Network.HOST, mapped={})
BRIDGE = Connectivity(network=Network.OWN, mapped={8080: 31001, 31001: 31002})
ports = st.integers(1, 65535)


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "127.0.0.1", "::1", TASK, "/logging/logstash", "logging_logstash", "logging.logstash", "logstash~2"]
)
def test_names_of_the_task(host: str) -> None:
    """The loopback's names, the task's id, the app in every spelling, and what stands in front of ssh's @."""
    assert side(host, 80, TARGET, "alice+logstash~2") is Side.TASK


@pytest.mark.parametrize("host", ["agent-7.corp.example", "AGENT-7.corp.example", "10.0.0.7"])
def test_names_of_the_agent(host: str) -> None:
    """Its host name and its address, as Mesos tells them."""
    assert side(host, 80, TARGET, "logstash") is Side.AGENT


@pytest.mark.parametrize(
    "host", ["", "agent-7", "10.0.0.8", "127.0.0.2", "0.0.0.0", "corp.example", "logging", "169.254.169.254", "\x1b[2J"]
)
def test_any_other_name_is_refused(host: str) -> None:
    """In one printable line that names the destination."""
    with pytest.raises(AccessDenied) as caught:
        side(host, 443, TARGET, "logstash")
    assert caught.value.notice.isprintable()
    assert caught.value.notice.endswith(":443")


def test_a_user_name_that_cannot_be_read_names_nothing() -> None:
    """It is no way to be taken for the task."""
    with pytest.raises(AccessDenied):
        side("a//b", 80, TARGET, "a//b")
    with pytest.raises(AccessDenied):
        side("", 80, TARGET, "alice+")


def test_an_agent_without_an_address_has_no_empty_name() -> None:
    """A plain engine's agent has a host name alone."""
    with pytest.raises(AccessDenied):
        side("", 80, msgspec.structs.replace(TARGET, agent_ip=""), "logstash")


@pytest.mark.parametrize("port", [0, 65536, 4_294_967_295])
def test_what_is_no_port_is_refused(port: int) -> None:
    """The protocol carries 32 bits."""
    with pytest.raises(InvalidRequest):
        side("localhost", port, TARGET, "logstash")


@given(ports | st.sampled_from(TARGET.ports), st.sampled_from(Side), st.booleans())
@example(31001, Side.TASK, False)
@example(22, Side.TASK, True)
def test_with_the_agents_network_only_what_mesos_allocated(port: int, asked: Side, localhost: bool) -> None:
    """There localhost is the agent's own: no rule opens it."""
    if port in TARGET.ports:
        assert way(asked, port, HOST, TARGET, localhost=localhost) == AtAgent(port=port)
    else:
        with pytest.raises(AccessDenied, match="31001, 31002"):
            way(asked, port, HOST, TARGET, localhost=localhost)


def test_mapped_ports_go_by_either_number() -> None:
    """The container's number comes first where the task is named, the agent's alone where the agent is."""
    assert way(Side.TASK, 8080, BRIDGE, TARGET, localhost=False) == AtAgent(port=31001)
    assert way(Side.TASK, 31002, BRIDGE, TARGET, localhost=False) == AtAgent(port=31002)
    assert way(Side.TASK, 31001, BRIDGE, TARGET, localhost=False) == AtAgent(port=31002)
    assert way(Side.AGENT, 31001, BRIDGE, TARGET, localhost=True) == AtAgent(port=31001)


@given(ports | st.sampled_from([8080, 31001, 31002]), st.sampled_from(Side), st.sampled_from(Network), st.booleans())
@example(9, Side.TASK, Network.OWN, True)
@example(9, Side.TASK, Network.OWN, False)
@example(9, Side.AGENT, Network.OWN, True)
@example(8080, Side.TASK, Network.ANOTHERS, True)
def test_what_is_not_mapped_takes_a_network_of_its_own_and_a_rule(port: int, asked: Side, network: Network, localhost: bool) -> None:
    """Nothing else leads into a container, and nothing at all to another port of the agent."""
    connected = Connectivity(network=network, mapped=BRIDGE.mapped)
    try:
        found = way(asked, port, connected, TARGET, localhost=localhost)
    except AccessDenied:
        return
    if isinstance(found, InContainer):
        assert (found.port, asked, network, localhost) == (port, Side.TASK, Network.OWN, True)
    else:
        assert found.port in (*TARGET.ports, *BRIDGE.mapped.values())


def test_a_refusal_names_few_ports() -> None:
    """A task with hundreds does not fill the screen; one with none says so."""
    many = msgspec.structs.replace(TARGET, ports=tuple(range(1000, 1200)))
    with pytest.raises(AccessDenied) as caught:
        way(Side.TASK, 1, HOST, many, localhost=True)
    assert caught.value.notice.endswith("1008, 1009, …")
    with pytest.raises(AccessDenied, match="it has none"):
        way(Side.AGENT, 1, Connectivity(network=Network.OWN, mapped={}), TARGET, localhost=True)


def inspected(mode: str, networks: dict[str, Any] | None, ports: dict[str, Any] | None = None) -> Container:
    """Return a container as the engine's inspect tells it."""
    answer = {
        "Id": "c0ffee",
        "Name": "/c",
        "State": {"Running": True},
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Ports": ports, "Networks": networks},
    }
    return decode(msgspec.json.encode(answer), Container)


@pytest.mark.parametrize(
    ("mode", "networks", "expected"),
    [
        ("host", {"host": {}}, Network.HOST),
        ("0c4f", {"host": {}}, Network.HOST),
        ("host", None, Network.HOST),
        ("bridge", {"bridge": {}}, Network.OWN),
        ("default", {"bridge": {}}, Network.OWN),
        ("none", {"none": {}}, Network.OWN),
        ("overlay-1", {"overlay-1": {}}, Network.OWN),
        ("container:beef", {}, Network.ANOTHERS),
        ("ns:/run/netns/x", {"x": {}}, Network.ANOTHERS),
        ("bridge", {}, Network.ANOTHERS),
        ("", {"bridge": {}}, Network.ANOTHERS),
    ],
)
def test_where_a_container_stands(mode: str, networks: dict[str, Any] | None, expected: Network) -> None:
    """A network of its own only where mode and networks leave no doubt."""
    assert connectivity(inspected(mode, networks), "10.0.0.7").network is expected


def test_only_mappings_that_are_at_the_agents_address_count() -> None:
    """TCP, on all addresses or on the agent's; not its loopback's, not another's."""
    told = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "31001"}, {"HostIp": "::", "HostPort": "31001"}],
        "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5000"}],
        "82/tcp": [{"HostIp": "10.0.0.7", "HostPort": "31002"}],
        "83/udp": [{"HostIp": "", "HostPort": "31003"}],
        "84/tcp": None,
        "85/tcp": [{"HostIp": "", "HostPort": ""}],
        "x/tcp": [{"HostIp": "", "HostPort": "1"}],
        "9" * 5000 + "/tcp": [{"HostIp": "", "HostPort": "31004"}],
        "86/tcp": [{"HostIp": "", "HostPort": "9" * 5000}],
    }
    assert connectivity(inspected("bridge", {"bridge": {}}, told), "10.0.0.7").mapped == {80: 31001, 82: 31002}
    assert connectivity(inspected("bridge", {"bridge": {}}, None), "10.0.0.7").mapped == {}
