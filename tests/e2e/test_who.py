"""Who gets in, by what, and what those are told who do not: stock OpenSSH before a real directory."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from octopus.demo.engines import free_port
from tests.e2e.gateway import Gateway
from tests.e2e.people import People, Person
from tests.e2e.scene import Scene, behind, gateway_for, ldap, over_tls
from tests.e2e.trail import Chapter
from tests.parts.directory import Slapd
from tests.parts.ssh_client import Ended
from tests.parts.tools import need

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYBOARD = ["-o", "PreferredAuthentications=keyboard-interactive"]
PASSWORD = ["-o", "PreferredAuthentications=password"]
TASK = "web_front"
IN = (0, b"in\n")


def said(ended: Ended) -> tuple[int, bytes]:
    """Return what counts of a command that says ``in``."""
    return ended.status, ended.stdout


@contextlib.asynccontextmanager
async def own_gateway(scene: Scene, company: Slapd, **limits: int | str) -> AsyncIterator[Gateway]:
    """Give a gateway of its own to a test that spoils its limits."""
    more = (behind(scene.cluster), over_tls(scene.engines[0]), {"limits": limits})
    async with gateway_for(scene.people, ldap(company), *more) as running:
        await running.serves(TASK, key=scene.people.alice.key)
        yield running


@pytest.mark.parametrize("user", [TASK, f"alice+{TASK}", f"ALICE+{TASK}"])
async def test_key_of_the_directory(scene: Scene, record: Chapter, user: str) -> None:
    """A public key that stands in the directory opens the door, with the login said up front or not."""
    alice = scene.people.alice
    assert said(await scene.gateway.ssh.run(user, "echo in", key=alice.key)) == IN
    accepted = await record.event("auth.accepted", login="alice")
    assert (accepted["method"], accepted["groups"]) == ("publickey", ["platform"])
    assert accepted["fingerprint"] == fingerprint(alice)
    assert (await record.session()).end["login"] == "alice"


def fingerprint(person: Person) -> str:
    """Return a key's fingerprint as OpenSSH tells it."""
    listed = subprocess.run([need("ssh-keygen", "openssh-client"), "-lf", str(person.key)], capture_output=True, check=True, text=True)
    return listed.stdout.split()[1]


async def test_key_of_somebody_else_does_not_prove_a_login(scene: Scene, record: Chapter) -> None:
    """bob's key with ``alice+`` is refused, and what bob may do has nothing to do with it."""
    ended = await scene.gateway.ssh.run(
        f"alice+{TASK}", "echo in", key=scene.people.bob.key, options=["-o", "PreferredAuthentications=publickey"]
    )
    assert (ended.status, ended.stdout) == (255, b"")
    refused = await record.event("auth.refused")
    assert (refused["login"], refused["fingerprint"]) == ("alice", fingerprint(scene.people.bob))


async def test_both_prompts(scene: Scene, record: Chapter) -> None:
    """Without a login up front, keyboard-interactive asks ``LDAP login:`` and ``Password:``."""
    answers = {"LDAP login: ": "bob", "Password: ": scene.people.bob.password}
    assert said(await scene.gateway.ssh.run(TASK, "echo in", answers=answers, options=KEYBOARD)) == IN
    assert (await record.event("auth.accepted"))["method"] == "keyboard-interactive"
    assert (await record.session()).end["login"] == "bob"


@pytest.mark.parametrize(("options", "method"), [(KEYBOARD, "keyboard-interactive"), (PASSWORD, "password")])
async def test_password_alone_with_the_login_up_front(scene: Scene, record: Chapter, options: list[str], method: str) -> None:
    """With ``login+`` only the password is asked for, and the password method works too."""
    answers = {"assword: ": scene.people.bob.password}
    assert said(await scene.gateway.ssh.run(f"bob+{TASK}", "echo in", answers=answers, options=options)) == IN
    assert (await record.event("auth.accepted", login="bob"))["method"] == method


async def test_password_method_needs_the_login_up_front(scene: Scene) -> None:
    """Without a login the password method is not offered: it has no place to say one."""
    ended = await scene.gateway.ssh.run(TASK, "true", answers={"assword": "x"}, options=PASSWORD)
    assert ended.status == 255
    assert b"Permission denied (publickey,keyboard-interactive)" in ended.stderr


async def test_certificate_of_the_company(scene: Scene, record: Chapter) -> None:
    """A user certificate of the trusted authority speaks for the login that is its principal."""
    key = scene.people.certificate("good-certificate", principals="bob")
    assert said(await scene.gateway.ssh.run(TASK, "echo in", key=key)) == IN
    accepted = await record.event("auth.accepted")
    assert (accepted["login"], accepted["method"]) == ("bob", "certificate")


@pytest.mark.parametrize(
    ("name", "principals", "validity", "trusted"),
    [
        ("expired", "alice", "-2h:-1h", True),
        ("of-tomorrow", "alice", "+1d:+2d", True),
        ("of-another-authority", "alice", "-1h:+1h", False),
        ("of-nobody-here", "mallory", "-1h:+1h", True),
        ("of-somebody-else", "bob", "-1h:+1h", True),
        ("of-somebody-disabled", "carol", "-1h:+1h", True),
    ],
)
async def test_certificate_that_proves_nothing(
    scene: Scene, record: Chapter, name: str, principals: str, validity: str, trusted: bool
) -> None:
    """Out of date, of an unknown authority, or not of this login's: refused in the same words, and on the trail."""
    signed_by = scene.people.authority if trusted else scene.people.impostor
    key = scene.people.certificate(name, principals=principals, signed_by=signed_by, validity=validity)
    user = f"alice+{TASK}" if name == "of-somebody-else" else TASK
    ended = await scene.gateway.ssh.run(user, "true", key=key, options=["-o", "PreferredAuthentications=publickey"])
    expected = DENIED_TO_ALICE if name == "of-somebody-else" else DENIED
    assert (ended.status, ended.stderr.replace(user.encode(), b"USER")) == (255, expected)
    await record.event("auth.refused", method="certificate")


DENIED = b"USER@127.0.0.1: Permission denied (publickey,keyboard-interactive).\r\n"
DENIED_TO_ALICE = b"USER@127.0.0.1: Permission denied (publickey,keyboard-interactive,password).\r\n"


async def test_refusals_are_all_alike(scene: Scene, record: Chapter) -> None:
    """Wrong password, unknown login, disabled account, unknown task, all of them: the same output, before anybody is known."""
    carol = scene.people.carol
    wrong = "wrong-pass-word"
    scene.gateway.secrets.add(wrong)
    attempts = [("alice", wrong, TASK), ("nobody-here", wrong, TASK), ("carol", carol.password, TASK), ("alice", wrong, "no_such_app")]
    outputs = set()
    for login, password, target in attempts:
        answers = {"LDAP login: ": login, "Password: ": password}
        ended = await scene.gateway.ssh.run(target, "true", answers=answers, options=KEYBOARD)
        outputs.add((ended.status, ended.stdout, ended.stderr.replace(target.encode(), b"USER")))
    assert outputs == {(255, b"", DENIED)}
    assert [event for event in record.names if event.startswith("session")] == []
    assert (await record.event("auth.refused", login="carol"))["reason"]


@pytest.mark.parametrize(
    ("login", "password"), [("", "x"), ("alice", ""), ("*", "x"), ("alice)(uid=*", "x"), ("a" * 5000, "x"), ("ali\x00ce", "x")]
)
async def test_login_that_is_none(scene: Scene, login: str, password: str) -> None:
    """Empty, metacharacters, endless, NUL: refused like any other, and nothing of it is a bug in the log."""
    answers = {"LDAP login: ": login, "Password: ": password}
    command = scene.gateway.ssh.command(TASK, "true", options=KEYBOARD)
    with contextlib.suppress(ValueError):  # what no argument of a program can hold, no askpass can say
        ended = await scene.gateway.ssh.run_program(command, answers=answers)
        assert (ended.status, ended.stderr.replace(TASK.encode(), b"USER")) == (255, DENIED)


async def test_probing_tells_nothing_of_keys(scene: Scene) -> None:
    """The answer to "would this key do?" is the same for alice's, a disabled account's and a stranger's."""
    probed = [await probe(scene, key) for key in (scene.people.alice.key, scene.people.carol.key, scene.people.stranger)]
    assert [b"Server accepts key" in output for output in probed] == [True, True, True]


async def probe(scene: Scene, key: Path) -> bytes:
    """Return what ``ssh -v`` says about a key."""
    command = scene.gateway.ssh.command(TASK, "true", key=key, options=["-o", "PreferredAuthentications=publickey"])
    return (await scene.gateway.ssh.run_program(verbose(command))).stderr


def verbose(command: Sequence[str]) -> list[str]:
    """Return the command with OpenSSH's own words switched on."""
    return [word.replace("LogLevel=ERROR", "LogLevel=DEBUG1") for word in command]


async def test_failures_are_limited_before_the_directory_is_asked(scene: Scene, company: Slapd) -> None:
    """After three failures even the right password is refused here, and the directory has not been asked often enough to lock."""
    wrong, bob = "not-bobs-pass-word", scene.people.bob
    async with own_gateway(scene, company, failures_per_login=3) as running:
        running.secrets.add(wrong)
        for password in [wrong] * 11 + [bob.password]:
            ended = await running.ssh.run(f"bob+{TASK}", "echo in", answers={"assword": password}, options=PASSWORD)
            assert ended.status == 255
        assert said(await running.ssh.run(f"bob+{TASK}", "echo in", key=bob.key)) == IN
    bind = [need("ldapwhoami", "ldap-utils"), "-x", "-H", company.url, "-D", bob.entry().dn, "-w", bob.password]
    assert (await scene.gateway.ssh.run_program(bind, stdin=None)).status == 0, "the account is locked"


async def test_an_address_that_fails_often_is_refused(scene: Scene, company: Slapd) -> None:
    """Failures count by address too, over all logins; keys that were proven go on working."""
    async with own_gateway(scene, company, failures_per_address=4) as running:
        for number in range(4):
            answers = {"LDAP login: ": f"guess-{number}", "Password: ": "x"}
            assert (await running.ssh.run(TASK, "true", answers=answers, options=KEYBOARD)).status == 255
        right = {"assword: ": scene.people.bob.password}
        assert (await running.ssh.run(f"bob+{TASK}", "true", answers=right, options=PASSWORD)).status == 255


async def test_first_server_dead(scene: Scene, company: Slapd) -> None:
    """With the first LDAP server gone the second one answers, for passwords and keys."""
    servers = [f"ldaps://127.0.0.1:{free_port('127.0.0.1')}", company.tls_url]
    more = (behind(scene.cluster), over_tls(scene.engines[0]))
    async with gateway_for(scene.people, ldap(company, servers=servers), *more) as running:
        await running.serves(TASK, key=scene.people.alice.key)
        answers = {"assword: ": scene.people.bob.password}
        assert said(await running.ssh.run(f"bob+{TASK}", "echo in", answers=answers, options=PASSWORD)) == IN


async def test_directory_gone(scene: Scene, company: Slapd) -> None:
    """With no server left a password is answered with a word that blames no one, and nobody comes in."""
    servers = [f"ldap://127.0.0.1:{free_port('127.0.0.1')}"]
    async with gateway_for(scene.people, ldap(company, servers=servers), behind(scene.cluster), over_tls(scene.engines[0])) as running:
        answers = {"assword: ": scene.people.bob.password}
        ended = await running.ssh.run(f"bob+{TASK}", "echo in", answers=answers, options=[*PASSWORD, "-o", "LogLevel=INFO"])
        assert (ended.status, ended.stdout) == (255, b"")


async def test_people_of_a_file(scene: Scene, people: People) -> None:
    """Without a directory the users file knows passwords, keys and groups."""
    users = {"auth.users": {"file": "users.toml"}}
    async with gateway_for(people, users, behind(scene.cluster), over_tls(scene.engines[0])) as running:
        await running.serves(TASK, key=people.alice.key)
        chapter = running.trail.from_now()
        answers = {"LDAP login: ": "bob", "Password: ": people.bob.password}
        assert said(await running.ssh.run(TASK, "echo in", answers=answers, options=KEYBOARD)) == IN
        assert (await chapter.event("auth.accepted"))["groups"] == ["web"]
        assert (await running.ssh.run(f"alice+{TASK}", "true", answers={"assword": "wrong"}, options=PASSWORD)).status == 255
        assert (
            await running.ssh.run(TASK, "true", key=people.carol.key, options=["-o", "PreferredAuthentications=publickey"])
        ).status == 255
