"""What people may do, and as whom: the rules, the label, the environment, the user in the container."""

from __future__ import annotations

import re

import pytest

from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.e2e.trail import Chapter
from tests.parts.directory import Slapd

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_no_tells_nothing_of_what_exists(scene: Scene, record: Chapter) -> None:
    """What bob may not enter and what is not there are refused alike: same words, same status; the trail knows better."""
    names = ["logging_logstash", "logging_logstash~1", scene.task("/heka").id, "logging_nothing", "heka.instance-00000000", "heka@agent-1"]
    outputs = set()
    for name in names:
        ended = await scene.gateway.ssh.run(name, "id", key=scene.people.bob.key)
        outputs.add((ended.status, ended.stdout, re.sub(rb"\[s-[0-9a-f]+\]", b"[s]", ended.stderr)))
    assert outputs == {(77, b"", b"octopus: access denied [s]\n")}
    stories = await record.sessions(len(names))
    assert [story.names for story in stories] == [["session.denied"]] * len(names)
    assert [(story.end["name"], story.end["command"]) for story in stories] == [(name, "id") for name in names]


async def test_mistakes_near_what_one_may_see_are_helped(scene: Scene) -> None:
    """bob's misspelling of his own app gets a suggestion; of what he may not see it says nothing."""
    ended = await scene.gateway.ssh.run("web_frnt", "id", key=scene.people.bob.key)
    assert (ended.status, ended.stderr.startswith(b"octopus: no running task matches 'web_frnt'")) == (68, True)
    assert b"web_front" in ended.stderr.partition(b"did you mean")[2]
    assert b"did you mean" not in (await scene.gateway.ssh.run("web_logging_logstash", "id", key=scene.people.bob.key)).stderr


async def test_label_lets_a_group_in(scene: Scene, company: Slapd, record: Chapter) -> None:
    """An app's OCTOPUS_ALLOW_GROUPS lets the group in where the configuration says that labels count, and only there."""
    bob = scene.people.bob
    assert (await scene.gateway.ssh.run("shared_wiki", "echo in", key=bob.key)).stdout == b"in\n"
    assert (await record.session()).events[0]["rule"] == "label"
    off = {"marathon": {"policy_labels": False}}
    async with gateway_for(scene.people, ldap(company), behind(scene.cluster), over_tls(scene.engines[0]), off) as strict:
        await strict.serves("shared_wiki", key=scene.people.alice.key)
        assert (await strict.ssh.run("shared_wiki", "echo in", key=bob.key)).status == 77


async def test_only_language_and_terminal_pass(scene: Scene) -> None:
    """LANG and LC_* arrive as sent; nothing else the client sends does, least of all what would change programs."""
    sent = "SetEnv=LANG=de_DE.UTF-8 LC_TIME=C LD_PRELOAD=/x.so PATH=/evil BASH_ENV=/x OCTOPUS_SESSION=x FOO=bar"
    ended = await scene.gateway.ssh.run("web_front", "env", key=scene.people.alice.key, options=["-o", sent])
    environment = dict(line.split("=", 1) for line in ended.stdout.decode().splitlines())
    assert (environment["LANG"], environment["LC_TIME"]) == ("de_DE.UTF-8", "C")
    assert not {"LD_PRELOAD", "BASH_ENV", "FOO", "TERM"} & set(environment)
    assert environment["PATH"] == "/usr/sbin:/usr/bin:/sbin:/bin"
    assert environment["OCTOPUS_SESSION"] != "x"


async def test_language_where_none_is_sent(scene: Scene) -> None:
    """Without one from the client the container's programs speak UTF-8."""
    assert (await scene.gateway.ssh.run("web_front", "echo $LANG", key=scene.people.alice.key)).stdout == b"C.UTF-8\n"


@pytest.mark.parametrize(
    ("person", "name", "uid"), [("bob", "ops_tool", "1000"), ("alice", "ops_tool", "0"), ("alice", "ops_app-user", "1000")]
)
async def test_user_in_the_container(scene: Scene, record: Chapter, person: str, name: str, uid: str) -> None:
    """A rule's run_as decides who one is, else the image does; the trail says which."""
    key = getattr(scene.people, person).key
    assert (await scene.gateway.ssh.run(name, "id -u", key=key)).stdout.decode().strip() == uid
    assert (await record.session()).events[0]["run_as"] == ("app" if person == "bob" else "")


async def test_kinds_are_allowed_one_by_one(scene: Scene, company: Slapd) -> None:
    """A rule that allows commands alone does not allow a shell, and the other way round."""
    rules = [
        {"users": ["bob"], "apps": ["/web/front"], "allow": ["exec"]},
        {"users": ["bob"], "apps": ["/web/back"], "allow": ["shell"]},
        {"groups": ["platform"], "apps": ["/**"], "allow": ["exec"]},
    ]
    own = {"policy": rules}
    async with gateway_for(scene.people, ldap(company), behind(scene.cluster), over_tls(scene.engines[0]), own) as running:
        await running.serves("web_back", key=scene.people.alice.key)
        key = scene.people.bob.key
        asked = [("web_front", ["true"]), ("web_front", []), ("web_back", ["true"]), ("web_back", [])]
        statuses = [(await running.ssh.run(name, *command, key=key, stdin=b"exit 0\n")).status for name, command in asked]
        assert statuses == [0, 77, 77, 0]
