"""What the configuration says reaches the parts, and an agent's name cannot lead anywhere else."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from octopus import building
from octopus.config.sections import Config, Docker, Marathon, Mesos, PolicyRule
from octopus.core.errors import ConfigError, ContainerUnavailable
from octopus.core.policy import ALLOW_GROUPS_LABEL
from octopus.core.types import Identity

AL = Identity(login="al", groups=frozenset({"dev"}), method="password")


@pytest.mark.parametrize(
    ("url", "hostname", "ip", "address"),
    [
        ("https://{hostname}:2376", "agent-1.example", "", "https://agent-1.example:2376"),
        ("https://{ip}:2376", "agent-1", "10.0.0.1", "https://10.0.0.1:2376"),
        ("http://{ip}:2375", "agent-1", "fd00::1", "http://[fd00::1]:2375"),
        ("ssh://root@{hostname}", "agent-1", "", "ssh://root@agent-1"),
        ("ssh://root@{ip}:22/run/docker.sock", "agent-1", "10.0.0.1", "ssh://root@10.0.0.1:22/run/docker.sock"),
        ("unix:///run/docker.sock", "any/thing", "", "unix:///run/docker.sock"),
    ],
)
def test_an_agent_leads_to_its_engine(url: str, hostname: str, ip: str, address: str) -> None:
    """Placeholders are filled, IPv6 in brackets; certificates come along."""
    engine = building.engine_address(Docker.model_construct(url=url, tls_ca="/ca"), hostname, ip)
    assert (engine.url, engine.tls_ca) == (address, "/ca")


@pytest.mark.parametrize("hostname", ["", "a/b", "evil:1/x", "a@b", "a b", "a\n", "-a", "[::1]", "a?b", "a#b", "ä", "a" * 300])
def test_an_agent_that_names_no_host_leads_nowhere(hostname: str) -> None:
    """Whoever registers an agent chooses its name: it is a host or nothing."""
    with pytest.raises(ContainerUnavailable, match="which is no host"):
        building.engine_address(Docker.model_construct(url="https://{hostname}:2376"), hostname, "10.0.0.1")


def test_the_policy_has_the_rules_in_their_order_and_the_label_where_switched_on() -> None:
    """``[[policy]]`` and ``marathon.policy_labels``."""
    rule = PolicyRule(groups=("dev",), apps=("/a",), allow=("shell",))
    for labels in (False, True):
        config = Config.model_construct(policy=(rule,))
        config = config.model_copy(update={"marathon": config.marathon.model_copy(update={"policy_labels": labels})})
        policy = building.policy(config)
        assert policy.may_see(AL, "/a", {})
        assert policy.may_see(AL, "/b", {ALLOW_GROUPS_LABEL: "dev"}) is labels


def test_limits_have_the_values_of_their_keys() -> None:
    """Each key of [docker] that bounds an engine is the bound."""
    docker = Docker.model_construct(connect_timeout=1.0, call_timeout=2.0, start_timeout=3.0, exit_timeout=4.0, calls=5)
    limits = building.engine_limits(docker)
    assert (limits.connect, limits.call, limits.start, limits.exit, limits.threads) == (1.0, 2.0, 3.0, 4.0, 5)


async def test_what_only_the_parts_know_to_be_wrong_is_a_fault_too(tmp_path: Path) -> None:
    """A CA file without certificates, ZooKeeper's credentials with signs they cannot have."""
    no_ca = Mesos.model_construct(masters=("https://m",), ca_file=str(tmp_path))
    bad_auth = Mesos.model_construct(zk="zk://z:1/mesos", zk_auth=SecretStr("user:p@ss"))
    for mesos, fault in ((no_ca, "holds no certificates"), (bad_auth, "expected user:password, without '@'")):
        async with AsyncExitStack() as stack:
            with pytest.raises(ConfigError, match=fault) as refused:
                building.sources(Config.model_construct(mesos=mesos), stack)
        assert "p@ss" not in str(refused.value)


async def test_a_cluster_has_its_feeds() -> None:
    """Mesos alone, Mesos by ZooKeeper with Marathon, or one engine."""
    zk = Mesos.model_construct(zk="zk://127.0.0.1:1/mesos", zk_auth=SecretStr("user:pass"))
    marathon = Marathon.model_construct(urls=("http://127.0.0.1:1",))
    for config, names in (
        (Config.model_construct(mesos=Mesos.model_construct(masters=("http://127.0.0.1:1",))), ["mesos"]),
        (Config.model_construct(mesos=zk, marathon=marathon), ["mesos", "marathon"]),
        (Config.model_construct(docker=Docker.model_construct(url="unix:///nowhere", inventory=True)), ["docker"]),
    ):
        async with AsyncExitStack() as stack:
            sources = building.sources(config, stack)
            assert [feed.status().name for feed in sources.feeds] == names
            assert not sources.cluster.ready


def test_without_a_directory_nothing_is_built() -> None:
    """No section, no directory: never one that lets in nobody knows whom."""
    with pytest.raises(ConfigError):
        building.directory(Config().auth)
