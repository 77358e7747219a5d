"""The admin over real HTTP on a small control plane: real trail, users file, limits and policy, and a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from octopus import administration, building
from octopus.config import load
from octopus.control.audit_log import FileAuditLog
from octopus.control.control_plane import ControlPlane
from octopus.control.live import LiveSessions
from octopus.control.plane import Admission, LiveSession
from octopus.core.cluster import Cluster
from octopus.core.inventory import Agent, FeedStatus, MarathonSnapshot, MarathonTask, Snapshot, Task
from octopus.core.placement_app import App
from octopus.core.placement_operators import Constraint
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts
from octopus.core.types import Allow, Connection, ContainerClue, EngineAddress, ExecSpec, Identity, Pty, Target, TermSize
from octopus.fleet.capacity_report import CapacityReports
from octopus.fleet.history import EventHistory
from octopus.fleet.unique_scaler import UniqueScaler
from octopus.fleet.usage import UsageSampler
from octopus.fleet.working import ReportQuestion
from octopus.identity.passwords import hash_password

PASSWORD = "a pass-word of hers"
PEOPLE = {"alice": ["platform"], "bob": ["dev"], "mallory": ["visitors"]}
TOKENS = {"ci": ("token-of-ci", "operator"), "board": ("token-of-board", "viewer")}
FRAMEWORK = "f-1"
EVIL = "<script>alert(1)</script>"
ESCAPE = "\x1b]0;owned\x07"


@dataclass
class Admin:
    """A running admin: ``client`` keeps cookies; ``root`` holds the trail and the recordings."""

    client: httpx.AsyncClient
    root: Path
    log: FileAuditLog
    plane: ControlPlane
    cluster: Cluster

    @property
    def recordings(self) -> Path:
        """Return where recordings lie."""
        return self.root / "audit" / "recordings"

    async def log_in(self, login: str = "alice", password: str = PASSWORD, **form: str) -> httpx.Response:
        """Fill the form in and send it."""
        shown = await self.client.get("/login")
        return await self.client.post("/login", data={"login": login, "password": password, "token": token_of(shown)} | form)

    async def token(self) -> str:
        """Return what a change takes."""
        return token_of(await self.client.get("/capacity"))

    def trail(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event."""
        path = self.root / "audit" / "audit.jsonl"
        return [line for line in map(json.loads, path.read_text().splitlines()) if line["event"] == event]


def token_of(shown: httpx.Response) -> str:
    """Return the token in a page's form."""
    found = re.search(r'name="token" value="([^"]+)"', shown.text)
    assert found, shown.text[:2000]
    return found[1]


def bearer(name: str = "ci") -> dict[str, str]:
    """Return the header of a machine."""
    return {"authorization": f"Bearer {TOKENS[name][0]}"}


class Known:
    """A feed that has read everything just now."""

    async def run(self) -> None:
        """Do nothing."""

    async def tried(self) -> None:
        """Have read it."""

    async def refresh(self) -> None:
        """Have read it."""

    async def look_up(self, name: str) -> bool:
        """Know nothing more."""
        return False

    def status(self) -> FeedStatus:
        """Be well."""
        return FeedStatus(name="mesos", since=time.time(), age=1.0, complete=True)


def small_cluster(*, agents: int = 3, tasks: Iterable[tuple[str, str]] = (("/web", "web.1"), ("/db", "db.1"))) -> Cluster:
    """Return a cluster of agents with 4 CPUs and 4 GB, and running tasks: app and id, on one agent after the other."""
    cluster, running = Cluster(marathon=True), list(tasks)
    names = [f"agent-{number}.example" for number in range(1, agents + 1)]
    machines = [
        Agent(id=f"a-{name}", hostname=name, total=Amounts(4000, 4_096_000, 10_000_000, 0, ((31000, 32000),)), registered=1.0)
        for name in names
    ]
    found = [
        Task(
            id=task,
            framework=FRAMEWORK,
            agent=f"a-{names[at % agents]}",
            state="TASK_RUNNING",
            started=1_700_000_000.0,
            amounts=Amounts(100, 64_000),
        )
        for at, (_, task) in enumerate(running)
    ]
    cluster.replace(Snapshot(agents=machines, frameworks={FRAMEWORK: "marathon"}, tasks=found))
    apps = {app: App(id=app, instances=1, needs=Amounts(100, 64_000)) for app, _ in running}
    apps["/statsd"] = App(id="/statsd", instances=1, needs=Amounts(100, 64_000), constraints=(Constraint("hostname", "UNIQUE"),))
    told = {task: MarathonTask(app=app, host=names[at % agents]) for at, (app, task) in enumerate(running)}
    cluster.replace_marathon(MarathonSnapshot(tasks=told, framework=FRAMEWORK, apps=apps, rules=rules_of("1.11.0")))
    return cluster


def live_session(session: str, *, login: str = "bob", task: str = "web.1", command: str | None = None, since: float = 0.0) -> LiveSession:
    """Return a session that is live, as the plane has it."""
    target = Target(app="/web", task=task, agent="agent-1.example", engine=EngineAddress(url="unix:///x"), clue=ContainerClue())
    pty = Pty(term="xterm", size=TermSize(cols=80, rows=24)) if command is None else None
    spec = ExecSpec(command=command, pty=pty, env={}, user="", token="t")
    return LiveSession(
        session=session,
        identity=Identity(login=login, method="password"),
        connection=Connection(id="c-1", client="10.0.0.1:4000", worker="w-1"),
        admission=Admission(
            session=session,
            target=target,
            allow=Allow(spec=spec, rule="policy[0]"),
            kind="shell" if command is None else "exec",
            command=command or "",
        ),
        since=since or time.time(),
    )


@asynccontextmanager
async def admin(
    root: Path,
    *,
    cluster: Cluster | None = None,
    scaler: UniqueScaler | None = None,
    reports: CapacityReports | None = None,
    usage: UsageSampler | None = None,
    more: str = "",
) -> AsyncIterator[Admin]:
    """Run the admin below ``root``; ``more`` is added to its section of the configuration."""
    config = load(_written(root, more), {})
    async with AsyncExitStack() as stack:
        directory = building.directory(config.auth)
        stack.push_async_callback(directory.aclose)
        authenticator, policy = building.authenticator(config.limits, directory), building.policy(config)
        log, live = building.audit_log(config.audit), LiveSessions(root / "run" / "sessions")
        live.restore(lambda session: False)
        known = small_cluster() if cluster is None else cluster
        sources = building.Sources(cluster=known, feeds=(Known(),), container_id=None, history=EventHistory(time.time))
        plane = ControlPlane(
            log=log,
            live=live,
            authenticator=authenticator,
            resolver=_Nobody(),
            policy=policy,
            clock=time.time,
            new_token=lambda: secrets.token_hex(8),
        )
        rooms = administration.Rooms(
            plane=plane,
            authenticator=authenticator,
            policy=policy,
            log=log,
            directory=directory,
            sources=sources,
            registry=CollectorRegistry(),
            recordings=root / "audit" / "recordings",
            reports=reports or no_reports(),
            scaler=scaler,
            usage=usage,
        )
        server = administration.server(config, rooms, stack)
        assert server
        await stack.enter_async_context(log)
        running = asyncio.create_task(server.run())
        host, port = await server.address()
        try:
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=60) as client:
                yield Admin(client, root, log, plane, known)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


class _Nobody:
    """A resolver that nothing here asks."""

    async def resolve(self, name: object, may_see: object) -> Target:
        """Know no task."""
        raise NotImplementedError

    async def candidates(self, text: str, may_see: object, limit: int) -> tuple[Any, ...]:
        """Know none."""
        return ()

    async def replacement(self, target: Target) -> str:
        """Know none."""
        return ""


def no_reports() -> CapacityReports:
    """Return reports of a timer that never runs."""
    return CapacityReports(_no_report, sound=lambda: False, clock=time.time, ready=_at_once)


async def _no_report(question: ReportQuestion) -> Any:
    raise NotImplementedError


async def _at_once() -> None:
    """Be ready."""


def _written(root: Path, more: str) -> Path:
    entries = [
        f"[users.{login}]\npassword = '{hash_password(PASSWORD)}'\ngroups = {json.dumps(groups)}\n" for login, groups in PEOPLE.items()
    ]
    tokens = [
        f'[[token]]\nname = "{name}"\nsha256 = "{hashlib.sha256(text.encode()).hexdigest()}"\nrole = "{role}"\n'
        for name, (text, role) in TOKENS.items()
    ]
    for name, text in (("users.toml", "\n".join(entries)), ("tokens.toml", "\n".join(tokens))):
        (root / name).touch(mode=0o600)
        (root / name).write_text(text)
    path = root / "octopus.toml"
    path.write_text(f"""\
[ssh]
listen = ["127.0.0.1:2222"]
[auth.users]
file = "users.toml"
[mesos]
masters = ["http://127.0.0.1:1"]
[marathon]
urls = ["http://127.0.0.1:1"]
[docker]
url = "unix:///nowhere"
[audit]
directory = "audit"
[limits]
refusal_time = "0.01s"
failures_per_login = 3
[[policy]]
groups = ["platform", "dev"]
apps = ["/web", "/web/**"]
allow = ["shell", "exec", "download"]
[[policy]]
groups = ["dev"]
apps = ["/db"]
allow = []
[admin]
listen = "127.0.0.1:0"
viewers = ["Dev"]
operators = ["platform"]
tokens_file = "tokens.toml"
{more}
""")
    return path
