"""Where a name leads: every spelling to the one task it means, every other to one clear line."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import asyncssh
import paramiko
import pytest

from octopus.demo.images import BUSYBOX
from tests.e2e.scene import AGENTS, Scene, launch, on
from tests.e2e.trail import Chapter, Story
from tests.parts.ssh_client import Ended

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHERE = "echo $MESOS_TASK_ID"


async def enter(scene: Scene, name: str) -> Ended:
    """Ask a task who it is, as alice."""
    return await scene.gateway.ssh.run(name, WHERE, key=scene.people.alice.key)


async def typed(scene: Scene, name: str) -> Ended:
    """Do the same with a client that sends any name: OpenSSH's own refuses some before they leave."""
    alice = scene.people.alice.key
    address = ("127.0.0.1", scene.gateway.port)
    async with asyncssh.connect(*address, username=name, client_keys=[str(alice)], known_hosts=None, config=None, agent_path=None) as ssh:
        ended = await ssh.run(WHERE, encoding=None)
    return Ended(ended.exit_status or 0, cast(bytes, ended.stdout), cast(bytes, ended.stderr))


async def refused(scene: Scene, record: Chapter, name: str, status: int) -> tuple[str, Story]:
    """Return the one line a name is refused with, without its session, and the session's story; nothing was entered."""
    ended = await typed(scene, name)
    assert (ended.status, ended.stdout) == (status, b"")
    story = await record.session()
    line = ended.stderr.decode("ascii")
    assert line.startswith("octopus: ")
    assert line.endswith(f" [{story.id}]\n")
    assert line.count("\n") == 1
    assert story.names == ["session.denied"]
    return line.removeprefix("octopus: ").removesuffix(f" [{story.id}]\n"), story


async def test_whole_id_and_its_start(scene: Scene, record: Chapter) -> None:
    """A task's id, an unambiguous start of it, the instance's id, with a login in front: all the same task."""
    task = scene.task("/logging/logstash", 2)
    uuid = task.id.partition(".instance-")[2]
    names = [task.id, f"logging_logstash.instance-{uuid[:13]}", f"alice+{task.id}"]
    for name in names:
        ended = await enter(scene, name)
        assert (ended.status, ended.stdout.decode().strip()) == (0, task.id), (name, ended.stderr)
    for story in await record.sessions(len(names)):
        target = {"app": "/logging/logstash", "task": task.id, "agent": task_agent(scene, task.id), "container": scene.container(task)}
        assert story.end["target"] == target
        assert story.names == ["session.requested", "exec", "session.started", "session.ended"]


def task_agent(scene: Scene, task_id: str) -> str:
    """Return the host name of the agent a task is on, as the cluster has it."""
    task = scene.cluster.mesos.task(task_id)
    assert task is not None
    return scene.cluster.mesos.agent(task.agent_id).hostname


@pytest.mark.parametrize("name", ["web_front", "web.front", "/web/front"])
async def test_spellings_of_an_app(scene: Scene, name: str) -> None:
    """An app may be spelled as its id, with dots, with underscores."""
    ended = await enter(scene, name)
    assert (ended.status, ended.stdout.decode().strip()) == (0, scene.task("/web/front").id)


async def test_the_nth_instance_and_any(scene: Scene) -> None:
    """``~N`` counts by start time, ``~any`` takes one of them, the same each time."""
    tasks = [scene.task("/logging/logstash", number).id for number in (1, 2, 3)]
    said = [(await enter(scene, f"logging_logstash~{number}")).stdout.decode().strip() for number in (1, 2, 3)]
    assert said == tasks
    assert (await enter(scene, "logging_logstash~any")).stdout.decode().strip() == tasks[0]


@pytest.mark.parametrize("agent", ["agent-2.corp.example", "agent-2", "AGENT-2"])
async def test_the_instance_on_an_agent(scene: Scene, agent: str) -> None:
    """``app@agent`` is the instance there: by the agent's whole name or a start of it."""
    said = (await enter(scene, f"heka@{agent}")).stdout.decode().strip()
    assert task_agent(scene, said) == AGENTS[1]


async def test_ambiguous_name_lists_what_it_may_mean(scene: Scene, record: Chapter) -> None:
    """Several instances without a terminal: 64, and each of them once."""
    line, _ = await refused(scene, record, "logging_logstash", 64)
    tasks = ", ".join(scene.task("/logging/logstash", number).id for number in (1, 2, 3))
    assert line == f"'logging_logstash' is 3 running tasks: {tasks}"


async def test_ambiguous_agent(scene: Scene, record: Chapter) -> None:
    """A start that several agents share is 64, and each of them once."""
    line, _ = await refused(scene, record, "heka@agent", 64)
    assert line == f"'agent' is 2 agents: {', '.join(AGENTS)}"


async def test_unknown_name_with_a_suggestion(scene: Scene, record: Chapter) -> None:
    """A name that is nearly right is 68 and says what is near."""
    line, story = await refused(scene, record, "loging_logstash", 68)
    assert line == "no running task matches 'loging_logstash' (did you mean logging_logstash?)"
    assert (story.end["name"], story.end["login"]) == ("loging_logstash", "alice")


@pytest.mark.parametrize("name", ["logging_logstash~9", "web_front@agent-2", "web_front.instance-ffffffff", "nothing-like-it"])
async def test_nothing_there(scene: Scene, record: Chapter, name: str) -> None:
    """A number too high, the wrong agent, a task of the past, nothing at all: 68 in one line."""
    await refused(scene, record, name, 68)


@pytest.mark.parametrize(
    "name",
    [
        "x" * 1_000,
        "вэб_фронт",
        "web_fr\u043ent",
        "../../etc/passwd",
        "web_front/../../x",
        "*)(uid=*",
        "web_front;id",
        "$(id)",
        "web front'\"",
        "web_front~0",
        "web_front~any~2",
        "%s%n",
        "-oProxyCommand=id",
        "alice+bob+web_front",
    ],
)
async def test_name_that_is_none(scene: Scene, record: Chapter, name: str) -> None:
    """Too long, other alphabets, paths, metacharacters: 64, one short line of plain ASCII."""
    line, _ = await refused(scene, record, name, 64)
    assert line.isprintable()
    assert len(line) < 300


@pytest.mark.parametrize("name", ["web\x1b[2Jfront", "web\nfront", "web_front\x7f", "web\x00front", "x" * 10_000])
async def test_name_that_no_user_has(scene: Scene, name: str) -> None:
    """Control characters and 10,000 characters end the connection before anybody is asked for anything; others go on."""
    key = paramiko.Ed25519Key.from_private_key_file(str(scene.people.alice.key))
    with paramiko.Transport(("127.0.0.1", scene.gateway.port)) as transport:
        with pytest.raises(paramiko.SSHException):
            await asyncio.to_thread(transport.connect, username=name, pkey=key)
        assert not transport.is_authenticated()
    assert (await enter(scene, "web_front")).status == 0


async def test_task_of_a_moment_ago(scene: Scene) -> None:
    """A task can be entered as soon as Marathon says that it runs."""
    [task] = await launch(scene.cluster, "/web/newborn", **on(1))
    async with asyncio.timeout(60):
        # The tests before this one asked for what is not there; so many look-ups are done at a time, and no more.
        while (ended := await enter(scene, task.id)).status == 68:
            pass
    assert (ended.status, ended.stdout.decode().strip()) == (0, task.id), ended.stderr


async def listed(scene: Scene, text: str) -> None:
    """Wait until the gateway knows of a task; a task too new to be known is looked up at a limited rate only."""
    async with asyncio.timeout(60):
        while text.encode() not in (await scene.gateway.ssh.run("alice+", "ps", text, key=scene.people.alice.key)).stdout:
            pass


async def test_container_that_lies_is_never_entered(scene: Scene, record: Chapter) -> None:
    """A container that takes another task's environment, label and name for its own is passed over: the task's own is entered."""
    task = scene.task("/ops/tool")
    lies = {"environment": {"MESOS_TASK_ID": task.id}, "labels": {"MESOS_TASK_ID": task.id}, "name": f"mesos-{task.container_id}.liar"}
    with scene.engine(task).container(["sleep", "86400"], image=BUSYBOX, **lies) as liar:
        ended = await scene.gateway.ssh.run(task.id, "cat /proc/1/cmdline | tr '\\0' ' '; hostname", key=scene.people.alice.key)
        assert ended.status == 0
        entered = (await record.session()).end["target"]["container"]
        assert entered == scene.container(task)
        assert entered != liar


async def test_container_in_the_name_of_a_task_is_not_enough(scene: Scene, record: Chapter) -> None:
    """Where a stranger's container stands under the very name of a task's, without its sandbox, nobody is let into it."""
    [task] = await launch(scene.cluster, "/ops/usurped", **on(1))
    await listed(scene, "usurped")
    engine, real = scene.engine(task), scene.container(task)
    with engine.api() as api:
        api.rename(real, "set-aside")
    with engine.container(["sleep", "86400"], name=f"mesos-{task.container_id}", environment={"MESOS_TASK_ID": task.id}):
        ended = await enter(scene, task.id)
        story = await record.session()
        assert story.end["target"]["container"] in ("", real)
        assert ended.stdout.decode().strip() in ("", task.id)
        assert (ended.status, story.names[-1]) in ((0, "session.ended"), (69, "session.failed"))
    with engine.api() as api:
        api.rename(real, f"mesos-{task.container_id}")


async def test_list_and_help(scene: Scene) -> None:
    """``ps`` lists what a person may enter, with a word to search; ``help`` says what can be typed; both by script."""
    listed = await scene.gateway.ssh.run("bob", "ps", key=scene.people.bob.key)
    apps = {line.split()[0] for line in listed.stdout.decode().splitlines()[1:]}
    assert {"/web/front", "/web/back", "/ops/tool", "/shared/wiki"} <= apps
    assert not any(name.startswith(("/logging", "/heka")) for name in apps)
    found = await scene.gateway.ssh.run("alice+", "ps", "heka", key=scene.people.alice.key)
    assert [line.split()[0] for line in found.stdout.decode().splitlines()] == ["APP", "/heka", "/heka"]
    assert b"ssh APP~2@GATEWAY" in (await scene.gateway.ssh.run("alice", "help", key=scene.people.alice.key)).stdout


async def test_tasks_and_check(scene: Scene) -> None:
    """``octopus tasks --json`` lists every task, ``octopus check`` is content, both beside the running gateway."""
    listed = json.loads((await scene.gateway.run("tasks", "/heka", "--json")).stdout)
    assert sorted(task["agent"] for task in listed) == list(AGENTS)
    checked = await scene.gateway.run("check", "--json")
    findings = json.loads(checked.stdout)
    assert (checked.status, [found for found in findings if found["status"] == "fault"]) == (0, [])
    assert any(found["what"] == "engines" and found["finding"].startswith("2 of 2 answer") for found in findings)
