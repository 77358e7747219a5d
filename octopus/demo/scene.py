"""What ``octopus demo`` shows: a small cluster whose tasks are real containers, and the lines to paste."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from octopus.demo.cluster import DemoCluster
from octopus.demo.images import BUSYBOX
from octopus.demo.people import Person, alice_and_bob, write_ssh_config, write_users
from octopus.demo.stage import Stage

HOST = "127.0.0.1"
PORT = 2222
ADMIN_PORT = 8022
AGENTS = {"agent-1.example": "r1", "agent-2.example": "r2", "agent-3.example": "r1"}
VISITOR = "agent-4.example"
"""The agent that joins and leaves now and then."""

LOGGING = 'i=0; while :; do i=$((i+1)); echo "$(date -u) line $i" | tee -a $MESOS_SANDBOX/stdout; sleep 5; done'
WEB = 'mkdir -p /www; echo "hello from $MESOS_TASK_ID" > /www/index.html; exec httpd -f -p 127.0.0.1:$PORT0 -h /www'
WAIT = "trap exit TERM; while :; do sleep 1; done"


@dataclass(frozen=True, kw_only=True)
class DemoApp:
    """An app of the scene."""

    id: str
    command: str
    instances: int
    network: str = "NONE"
    constraints: tuple[tuple[str, str], ...] = ()

    def definition(self) -> dict[str, Any]:
        """Return it as Marathon takes it."""
        return {
            "cmd": self.command,
            "instances": self.instances,
            "cpus": 0.1,
            "mem": 64,
            "constraints": [list(each) for each in self.constraints],
            "container": {"type": "DOCKER", "docker": {"image": BUSYBOX, "network": self.network}},
            "labels": {"OWNER": self.id.split("/")[1]},
        }


APPS = (
    DemoApp(id="/logging/logstash", command=LOGGING, instances=3),
    DemoApp(id="/web/frontend", command=WEB, instances=2, network="HOST"),
    DemoApp(id="/tools/busybox", command=WAIT, instances=1),
    DemoApp(id="/statsd", command=WAIT, instances=len(AGENTS), constraints=(("hostname", "UNIQUE"),)),
)


class Scene:
    """The cluster on its stage, while the context is open; ``config_file`` then configures a gateway for it.

    ``hash_password`` makes what the users file holds. ``pause`` seconds lie between the visitor's coming and going.
    """

    def __init__(self, stage: Stage, hash_password: Callable[[str], str], *, port: int = PORT, pause: float = 60.0) -> None:
        self._stage = stage
        self._pause = pause
        self.port = free_port(port)
        self.admin_port = free_port(ADMIN_PORT)
        self.people = alice_and_bob(stage.directory)
        write_users(stage.directory / "users.toml", self.people, hash_password)
        self.host_keys = stage.directory / "hostkeys"
        self.config_file = stage.directory / "octopus.toml"
        self.cluster = DemoCluster(masters=2, work_dir=str(stage.directory / "mesos"))

    async def __aenter__(self) -> Self:
        await self.cluster.__aenter__()
        try:
            for hostname, rack in AGENTS.items():
                await self.cluster.add_agent(hostname, attributes={"rack": rack}, engine=self._stage.engine)
            for app in APPS:
                self.cluster.put_app(app.id, **app.definition())
            for app in APPS:
                await self.cluster.running(app.id, app.instances)
            self.config_file.write_text(self._config())
        except BaseException:
            await self.cluster.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.cluster.__aexit__(kind, error, trace)

    async def visits(self, tell: Callable[[str], None]) -> None:
        """Let one more agent join and leave, again and again."""
        while True:
            await asyncio.sleep(self._pause)
            await self.cluster.add_agent(VISITOR, attributes={"rack": "r2"}, engine=self._stage.engine)
            tell(f"{VISITOR} joined the cluster")
            await asyncio.sleep(self._pause)
            await self.cluster.remove_agent(VISITOR)
            tell(f"{VISITOR} left the cluster")

    def _config(self) -> str:
        directory = self._stage.directory
        return f"""\
[ssh]
listen = ["{HOST}:{self.port}"]
host_keys = "{self.host_keys}"
runtime_directory = "{directory}/run"
workers = 2

[auth.users]
file = "{directory}/users.toml"

[mesos]
masters = {_list(self.cluster.mesos_urls)}

[marathon]
urls = {_list(self.cluster.marathon_urls)}

[docker]
url = "{self._stage.engine.url}"

[[policy]]
groups = ["platform"]
apps = ["/**"]
allow = ["shell", "exec", "download", "upload", "forward", "logs"]

[[policy]]
groups = ["web-dev"]
apps = ["/web/**"]
allow = ["shell", "exec"]

[audit]
directory = "{directory}/audit"

[usage]
interval = "30s"

[unique]
mode = "apply"
interval = "5s"
settle_time = "10s"

[admin]
listen = "{HOST}:{self.admin_port}"
viewers = ["web-dev"]
operators = ["platform"]
"""

    def welcome(self, host_key_lines: Sequence[str]) -> str:
        """Write the client's files and return what to tell the person at the terminal."""
        ssh_config = write_ssh_config(self._stage.directory, self.port, host_key_lines)
        return welcome_text(self._stage, self.port, ssh_config, self.admin_port, *self.people)


def welcome_text(stage: Stage, port: int, ssh_config: Path, admin_port: int, alice: Person, bob: Person) -> str:
    """Return what the demo is and the lines to paste into a second terminal."""
    ssh, directory = f"ssh -F {ssh_config}", stage.directory
    engine = "a private engine" if stage.private else stage.engine.url
    tasks = sum(app.instances for app in APPS)
    pasted = {
        "a shell in the first of three tasks, with her password": f"{ssh} alice+logging_logstash~1@octopus",
        "her key tells who she is; which of the three, she is asked": f"{ssh} -i {directory}/alice_key logging_logstash@octopus",
        "one command, with its output and exit status": f"{ssh} bob+web_frontend~any@octopus ps",
        "what the second one writes": f"{ssh} -i {directory}/alice_key -s logging_logstash~2@octopus logs -n 5",
        "not his: refused": f"{ssh} bob+tools_busybox@octopus",
        "what she may enter, as a list": f"{ssh} alice+@octopus ps",
        "the instance on an agent, with a client that knows only the host key": (
            f"ssh -p {port} -o UserKnownHostsFile={directory}/known_hosts alice+statsd@agent-2@{HOST}"
        ),
    }
    lines = "\n".join(f"  {what}:\n    {line}" for what, line in pasted.items())
    return f"""\
The gateway listens on {HOST}:{port}. Mesos and Marathon are stood in for; their {tasks} tasks on {len(AGENTS)} agents are real
containers on {engine}. Nothing of it stays when you end it with Ctrl-C.

  alice  password {alice.password}  group platform  enters everything
  bob    password {bob.password}  group web-dev   enters /web/** only

Paste into a second terminal:
{lines}

Pages:       http://{HOST}:{admin_port}/  (alice or bob, with the same passwords)
Audit trail: {directory}/audit/audit.jsonl
Recordings:  {directory}/audit/recordings
"""


def free_port(wanted: int) -> int:
    """Return the wanted port of loopback, or another where that one is taken."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise OSError("no free port on loopback")


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"
