"""The installed command: what it says of a configuration that is wrong, and how it starts and stops."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from octopus.demo.engines import free_port
from tests.e2e.gateway import program, toml
from tests.e2e.scene import Scene
from tests.parts.ssh_client import Ended, SshClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def octopus(directory: Path, *arguments: str) -> Ended:
    """Run the installed command."""
    return await SshClient("127.0.0.1", 0, directory).run_program([program(), *arguments], stdin=None)


@pytest.mark.parametrize("verb", ["serve", "check", "tasks"])
async def test_all_faults_of_a_configuration(tmp_path: Path, verb: str) -> None:
    """Each fault is a line with file, line and key; 78; nothing is started."""
    path = tmp_path / "octopus.toml"
    path.write_text('[ssh]\nlisten = "0.0.0.0:22"\nidle_timout = "1h"\n[auth.ldap]\nservers = ["http://x"]\n[limits]\nwindow = "soon"\n')
    ended = await octopus(tmp_path, verb, "--config", str(path))
    lines = ended.stderr.decode().splitlines()
    assert (ended.status, ended.stdout) == (78, b"")
    for start in (
        ":3: ssh.idle_timout: unknown key (did you mean idle_timeout?)",
        ":5: auth.ldap.servers[0]: ",
        ":7: limits.window: 'soon'",
    ):
        assert [line for line in lines if line.startswith(f"octopus: {path}{start}")], (start, lines)
    assert all(line.startswith(f"octopus: {path}") for line in lines)
    assert sorted(tmp_path.iterdir()) == [path]


async def test_no_configuration_at_all(tmp_path: Path) -> None:
    """A file that is not there, or no TOML, is one line and 78."""
    missing = await octopus(tmp_path, "serve", "--config", str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("[ssh\n")
    broken = await octopus(tmp_path, "serve", "--config", str(tmp_path / "bad.toml"))
    for ended in (missing, broken):
        assert (ended.status, ended.stderr.count(b"\n"), ended.stderr.startswith(b"octopus: ")) == (78, 1, True)


async def test_interrupted_gateway_ends_its_sessions(scene: Scene, tmp_path: Path) -> None:
    """On SIGINT sessions end with a word and an end on the trail, nothing is left in containers, and the command exits with 0."""
    port = free_port("127.0.0.1")
    (tmp_path / "users.toml").touch(mode=0o600)
    (tmp_path / "users.toml").write_text(scene.people.users_file())
    config = tmp_path / "octopus.toml"
    engine = scene.engines[0].address
    config.write_text(
        toml(
            {
                "ssh": {
                    "listen": [f"127.0.0.1:{port}"],
                    "host_keys": str(scene.people.host_keys),
                    "runtime_directory": "run",
                    "workers": 1,
                },
                "auth.users": {"file": "users.toml"},
                "audit": {"directory": "audit"},
                "admin": {"listen": ""},
                "mesos": {"masters": scene.cluster.mesos_urls},
                "marathon": {"urls": scene.cluster.marathon_urls},
                "docker": {"url": engine.url, "tls_ca": engine.tls_ca, "tls_cert": engine.tls_cert, "tls_key": engine.tls_key},
                "policy": [{"users": ["alice"], "apps": ["/**"], "allow": ["shell"]}],
            }
        )
    )
    ssh = SshClient("127.0.0.1", port, tmp_path)
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(program(), "serve", "--config", str(config), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(60):
            while (await ssh.run("alice", "ps", "front", key=scene.people.alice.key)).status:
                pass
        async with ssh.terminal("web_front", key=scene.people.alice.key) as terminal:
            await terminal.expect(rb"[#$] ")
            process.send_signal(signal.SIGINT)
            await terminal.expect(rb"octopus: [^\r]*\[s-[0-9a-f]+\]\r\n")
            assert await terminal.wait() == 129
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    trail = (tmp_path / "audit" / "audit.jsonl").read_text()
    assert re.findall(r'"event":"(session\.failed|gateway\.stopped|audit\.checkpoint)"', trail)[-3:] == [
        "session.failed",
        "gateway.stopped",
        "audit.checkpoint",
    ]
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert scene.processes("/web/front") == []
