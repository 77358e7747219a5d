"""The scene most tests play on: a cluster of two agents with an engine each, people in a directory, one gateway before them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from octopus.core.types import EngineAddress
from octopus.demo.cluster import DemoCluster
from octopus.demo.containers import container_name
from octopus.demo.images import BUSYBOX, SHELLLESS
from octopus.demo.model import Task
from tests.e2e.gateway import Gateway, Section, Sections, gateway
from tests.e2e.people import People
from tests.parts.directory import BIND_DN, BIND_PASSWORD, GROUP_BASE, USER_BASE, Slapd
from tests.parts.engines import Engine

AGENTS = ("agent-1.corp.example", "agent-2.corp.example")
IPS = ("127.0.0.2", "127.0.0.3")
APP_USER = "octopus-test/app-user:latest"
"""busybox whose image says USER app."""

EVERYTHING = ["shell", "exec", "download", "upload", "forward", "logs"]
POLICY: tuple[Section, ...] = (
    {"users": ["bob"], "apps": ["/ops/**"], "allow": ["shell", "exec"], "run_as": "app"},
    {"groups": ["platform"], "apps": ["/**"], "allow": EVERYTHING},
    {"groups": ["web"], "apps": ["/web/**"], "allow": ["shell", "exec"]},
)


def on(number: int) -> dict[str, Any]:
    """Return the constraint that puts an app on that agent, 1 or 2."""
    return {"constraints": [["hostname", "CLUSTER", AGENTS[number - 1]]]}


ENVIRONMENT_SECRET = "the-database-password-of-web-back"
"""Stands in the environment of /web/back, which Mesos tells everybody who reads ``status.data``."""

APPS: dict[str, dict[str, Any]] = {
    "/logging/logstash": {"instances": 3},
    "/web/front": on(1),
    "/web/back": {"env": {"DATABASE_PASSWORD": ENVIRONMENT_SECRET}, **on(2)},
    "/heka": {"instances": 2, "constraints": [["hostname", "UNIQUE"]]},
    "/ops/tool": on(1),
    "/ops/app-user": {"image": APP_USER, **on(2)},
    "/ops/bare": {"image": SHELLLESS, "cmd": None, **on(1)},
    "/shared/wiki": {"labels": {"OCTOPUS_ALLOW_GROUPS": "web"}, **on(2)},
}


def app(*, image: str = BUSYBOX, cmd: str | None = "sleep 86400", **more: Any) -> dict[str, Any]:
    """Return the definition of a Docker app that just stays."""
    container = {"type": "DOCKER", "docker": {"image": image}}
    return {"cmd": cmd, "instances": 1, "cpus": 0.01, "mem": 64, "container": container, **more}


@dataclass(frozen=True)
class Scene:
    """The cluster, what runs in it, and a gateway in front."""

    cluster: DemoCluster
    engines: tuple[Engine, ...]
    people: People
    gateway: Gateway

    def task(self, app_id: str, number: int = 1) -> Task:
        """Return an app's running task, by the order in which the gateway counts them."""
        tasks = [task for task in self.cluster.tasks(app_id) if task.state == "TASK_RUNNING"]
        return sorted(tasks, key=lambda task: (task.statuses[-1].timestamp, task.id))[number - 1]

    def engine(self, task: Task) -> Engine:
        """Return the engine of the agent that a task is on."""
        return self.engines[IPS.index(task.ip) % len(self.engines)]

    def container(self, task: Task) -> str:
        """Return the id of a task's container."""
        with self.engine(task).api() as api:
            return str(api.inspect_container(container_name(task, self.cluster.mesos.version))["Id"])

    def processes(self, app_id: str, number: int = 1) -> list[str]:
        """Return what runs in a task's container, its own process aside, as its engine's ps shows it."""
        task = self.task(app_id, number)
        own = (task.command, f"/bin/sh -c {task.command}", "/sleep 2147483647")
        return [line for line in self.engine(task).processes(self.container(task)) if line not in own]


@asynccontextmanager
async def cluster(engines: Sequence[Engine], *, local: bool = False, **options: Any) -> AsyncIterator[DemoCluster]:
    """Give a cluster whose agents run their tasks on these engines; ``local`` by their unix sockets."""
    async with DemoCluster(**options) as demo:
        for hostname, ip, engine in zip(AGENTS, IPS, engines, strict=False):
            await demo.add_agent(hostname, ip=ip, engine=own_socket(engine) if local else engine.address)
        yield demo


def own_socket(engine: Engine) -> EngineAddress:
    """Return the unix socket of an engine that may also speak TLS."""
    return engine.private.local if engine.private else engine.address


async def launch(demo: DemoCluster, app_id: str, **definition: Any) -> list[Task]:
    """Put an app and return its tasks once they run."""
    whole = app(**definition)
    demo.put_app(app_id, **whole)
    return await demo.running(app_id, whole["instances"])


def with_app_user(engine: Engine) -> None:
    """Make the image whose user is ``app``."""
    with engine.api() as api, contextlib.closing(api):
        made = api.create_container(BUSYBOX)["Id"]
        api.commit(made, *APP_USER.split(":"), changes=["USER app"])
        api.remove_container(made)


def behind(demo: DemoCluster) -> Sections:
    """Return what leads a gateway to that cluster."""
    return {"mesos": {"masters": demo.mesos_urls}, "marathon": {"urls": demo.marathon_urls, "policy_labels": True}, "policy": POLICY}


def over_tls(engine: Engine) -> Sections:
    """Return how agents' engines are reached: by each agent's address and one client certificate."""
    port = engine.address.url.rpartition(":")[2]
    address = engine.address
    files = {"tls_ca": address.tls_ca, "tls_cert": address.tls_cert, "tls_key": address.tls_key}
    return {"docker": {"url": f"https://{{ip}}:{port}", **files}}


def ldap(slapd: Slapd, **more: Any) -> Sections:
    """Return how people are looked up; the password goes into the file ``ldap.secret``."""
    section = {
        "servers": [slapd.tls_url],
        "ca_file": str(slapd.ca),
        "bind_dn": BIND_DN,
        "bind_password_file": "./ldap.secret",
        "user_base": USER_BASE,
        "group_base": GROUP_BASE,
    }
    return {"auth.ldap": {**section, **more}}


@asynccontextmanager
async def gateway_for(
    people: People, *sections: Sections, files: Mapping[str, str] | None = None, secrets: Iterable[str] = ()
) -> AsyncIterator[Gateway]:
    """Run a gateway with these sections; where two name the same, the later one adds its keys. ``files`` are beside its own."""
    whole: dict[str, Any] = {"ssh": {"trusted_user_ca_keys": "authority.pub", "host_keys": str(people.host_keys)}}
    for one in sections:
        for name, section in one.items():
            known = whole.get(name, {})
            whole[name] = {**known, **section} if isinstance(known, dict) and isinstance(section, dict) else section
    given = {
        "ldap.secret": BIND_PASSWORD,
        "users.toml": people.users_file(),
        "authority.pub": people.authority.with_suffix(".pub").read_text(),
    }
    async with gateway(
        whole, files=given | dict(files or {}), secrets={BIND_PASSWORD, ENVIRONMENT_SECRET, *people.secrets, *secrets}
    ) as running:
        yield running
