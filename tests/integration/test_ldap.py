"""LdapDirectory against a real slapd: transports, failover, people, groups, keys and the state of accounts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.demo.certificates import Authority
from octopus.identity.authenticator import Authenticator
from octopus.identity.ldap import LdapDirectory
from octopus.identity.limits import FailureLimits
from octopus.identity.unsettled import PasswordUnsettled
from tests.directory_contract import public_key
from tests.fake_directory import FakeClock
from tests.parts.directory import BASE, BIND_DN, BIND_PASSWORD, GROUP_BASE, USER_BASE, Person, Slapd
from tests.parts.proxy import Proxy, in_front_of
from tests.parts.tcp import listen, silence

Connect = Callable[..., LdapDirectory]


@pytest.fixture
async def connect(slapd: Slapd) -> AsyncIterator[Connect]:
    """Give a way to make directories over the shared slapd, with any setting another than usual."""
    async with AsyncExitStack() as stack:

        def make(*servers: str, **settings: Any) -> LdapDirectory:
            usual: dict[str, Any] = {
                "servers": servers or [slapd.url],
                "ca_file": str(slapd.ca),
                "bind_dn": BIND_DN,
                "bind_password": BIND_PASSWORD,
                "user_base": USER_BASE,
                "user_filter": "(&(objectClass=inetOrgPerson)(uid={login}))",
                "group_base": GROUP_BASE,
                "timeout": 5.0,
            }
            directory = LdapDirectory(**usual | settings)
            stack.push_async_callback(directory.aclose)
            return directory

        yield make


async def _gets_in(directory: LdapDirectory) -> bool:
    identity = await directory.check_password("alice", "alice-secret")
    return identity.login == "alice" and identity.groups == {"dev", "logging-dev"}


# Transports


@pytest.mark.parametrize("transport", ["ldap", "ldaps", "starttls"])
async def test_people_are_found_over_every_transport(slapd: Slapd, connect: Connect, transport: str) -> None:
    """Plain, TLS from the start, and StartTLS."""
    directory = connect(slapd.tls_url if transport == "ldaps" else slapd.url, start_tls=transport == "starttls")
    assert await _gets_in(directory)
    assert await directory.probe() == []


@pytest.mark.parametrize("start_tls", [True, False])
async def test_a_certificate_of_another_authority_is_refused(slapd: Slapd, connect: Connect, tmp_path: Path, start_tls: bool) -> None:
    """A server that cannot prove itself to the CA of the configuration gets no password."""
    stranger = Authority(tmp_path, "a stranger's CA")
    directory = connect(slapd.url if start_tls else slapd.tls_url, start_tls=start_tls, ca_file=str(stranger.ca))
    with pytest.raises(DirectoryUnavailable, match="certificate verify failed"):
        await directory.check_password("alice", "alice-secret")


async def test_a_certificate_for_another_host_is_refused(slapd: Slapd, connect: Connect) -> None:
    """The name in the URL must be in the certificate, whoever signed it."""
    assert await _gets_in(connect(f"ldaps://localhost:{slapd.tls_port}"))
    with pytest.raises(DirectoryUnavailable, match=r"certificate verify failed.*127\.1"):  # the same address by another name
        await connect(f"ldaps://127.1:{slapd.tls_port}").check_password("alice", "alice-secret")


async def test_a_server_without_tls_is_no_server_for_ldaps(slapd: Slapd, connect: Connect) -> None:
    """Nothing is said in clear to a server that should speak TLS."""
    with pytest.raises(DirectoryUnavailable):
        await connect(slapd.url.replace("ldap:", "ldaps:")).check_password("alice", "alice-secret")


# Failover


async def test_a_server_that_is_down_is_passed_over(slapd: Slapd, connect: Connect) -> None:
    """A refused connection leads to the next server at once."""
    async with listen(silence) as gone:
        pass
    directory = connect(gone.url("ldap"), slapd.url)
    assert await _gets_in(directory)
    assert len(await directory.probe()) == 1


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_a_server_that_hangs_is_passed_over_and_then_asked_last(slapd: Slapd, connect: Connect, scheme: str) -> None:
    """One that takes connections and never answers costs one time-out, not one for each login."""
    async with listen(silence) as hung:
        directory = connect(hung.url(scheme), slapd.url, timeout=2.0)
        for _ in range(3):
            assert await _gets_in(directory)
        assert hung.connections == 1


async def test_when_every_server_is_down_the_directory_is_unavailable(connect: Connect) -> None:
    """The operator reads what was wrong with each, the person that they may try later."""
    async with listen(silence) as gone:
        pass
    async with listen(silence) as hung:
        directory = connect(gone.url("ldap"), hung.url("ldap"), timeout=0.3)
        with pytest.raises(DirectoryUnavailable) as failure:
            await directory.look_up("alice", "publickey")
    assert gone.url("ldap") in str(failure.value)
    assert hung.url("ldap") in str(failure.value)
    assert failure.value.notice == DirectoryUnavailable.default_notice


async def test_one_of_two_servers_may_go_and_come_back(slapd_pair: tuple[Slapd, Slapd], connect: Connect) -> None:
    """Logins go on while a real server is away."""
    one, two = slapd_pair
    directory = connect(one.url, two.url)
    assert await _gets_in(directory)
    one.stop()
    assert await _gets_in(directory)


async def test_hung_logins_do_not_hold_the_threads(slapd: Slapd, connect: Connect) -> None:
    """More logins than threads against a server that hangs all end, and the next server answers them."""
    async with listen(silence) as hung:
        directory = connect(hung.url("ldap"), slapd.url, timeout=2.0, threads=2)
        async with asyncio.TaskGroup() as tasks:
            logins = [tasks.create_task(_gets_in(directory)) for _ in range(4)]
        assert all(login.result() for login in logins)


async def test_a_password_is_given_to_one_server_only(slapd: Slapd, connect: Connect) -> None:
    """A bind without an answer is not tried elsewhere: it may have been counted."""
    proxy = in_front_of(slapd.url.replace("ldap", "tcp"))
    proxy.hang_at = re.compile(b"not-hers")
    second = _Counted(slapd)
    async with proxy.serve(), second.proxy.serve():
        directory = connect(f"ldap://127.0.0.1:{proxy.port}", f"ldap://127.0.0.1:{second.proxy.port}", timeout=2.0)
        with pytest.raises(PasswordUnsettled):
            await directory.check_password("alice", "not-hers")
        assert proxy.hung.is_set()
        assert second.connections == 0
        assert await _gets_in(directory)
        assert second.connections > 0


# Connections that are kept


async def test_a_connection_serves_one_question_after_another(slapd: Slapd, connect: Connect) -> None:
    """Finding a key's owner and then a person takes one handshake, and so do all the logins that follow."""
    counted = _Counted(slapd)
    line, fingerprint = public_key()
    slapd.add(Person("kay", "kay-secret", (line,)))
    async with counted.proxy.serve():
        directory = connect(f"ldap://127.0.0.1:{counted.proxy.port}")
        for _ in range(3):
            assert (await directory.by_key(fingerprint)).login == "kay"
            assert (await directory.look_up("kay", "certificate")).login == "kay"
        assert counted.connections == 1
        with pytest.raises(AuthenticationFailed):  # who is nobody costs no connection
            await directory.look_up("nobody-at-all", "publickey")
        assert await directory.probe() == []
        assert counted.connections == 1


@pytest.mark.parametrize("end", ["close", "cut"])
async def test_a_kept_connection_that_ended_is_replaced_unnoticed(slapd: Slapd, connect: Connect, end: str) -> None:
    """Directories drop idle connections, firewalls forget them: the next question opens another."""
    counted = _Counted(slapd)
    async with counted.proxy.serve():
        directory = connect(f"ldap://127.0.0.1:{counted.proxy.port}")
        for connections in (1, 2, 3):
            assert (await directory.look_up("alice", "publickey")).login == "alice"
            assert counted.connections == connections
            getattr(counted.proxy, end)()


async def test_a_question_that_its_kept_connection_fails_is_asked_again(slapd: Slapd, connect: Connect) -> None:
    """The end may come when the question is already on its way."""
    counted = _Counted(slapd)
    async with counted.proxy.serve():
        directory = connect(f"ldap://127.0.0.1:{counted.proxy.port}")
        assert (await directory.look_up("alice", "publickey")).login == "alice"
        counted.proxy.hang_at = re.compile(b"alice")
        asked = asyncio.create_task(directory.look_up("alice", "publickey"))
        await counted.proxy.hung.wait()
        counted.proxy.thaw()
        counted.proxy.cut()
        assert (await asked).login == "alice"
        assert counted.connections == 2


class _Counted:
    """A proxy in front of a slapd that counts connections."""

    def __init__(self, slapd: Slapd) -> None:
        self.connections = 0
        self._slapd = slapd
        self.proxy = Proxy(self._connect)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        return await asyncio.open_connection(self._slapd.host, self._slapd.port)


# The limits in front of it


async def test_guesses_beyond_the_limit_never_reach_the_directory_and_lock_nobody_out(slapd: Slapd, connect: Connect) -> None:
    """A hundred parallel guesses are five binds; the directory, which locks at ten, still lets the person in."""
    slapd.add(Person("victim", "victim-secret"))
    counted = _Counted(slapd)
    clock = FakeClock()
    async with counted.proxy.serve():
        directory = connect(f"ldap://127.0.0.1:{counted.proxy.port}")
        authenticator = Authenticator(directory, FailureLimits(), clock=clock, sleep=clock.sleep)

        async def guess(n: int) -> None:
            with pytest.raises(AuthenticationFailed):
                await authenticator.authenticate(method="password", login="victim", password=f"guess{n}", address=f"2001:db8:{n:x}::1")

        async with asyncio.TaskGroup() as tasks:
            for n in range(100):
                tasks.create_task(guess(n))
        assert counted.connections == 10  # five searches, five binds
        await guess(100)
        assert counted.connections == 10
    assert (await connect().check_password("victim", "victim-secret")).login == "victim"


# People


async def test_two_entries_of_one_login_are_nobody(slapd: Slapd, connect: Connect) -> None:
    """Who cannot be told apart is not let in, with either password."""
    slapd.add(Person("twin", "one-secret"))
    slapd.modify(f"dn: cn=other,{USER_BASE}\nobjectClass: inetOrgPerson\nuid: twin\ncn: other\nsn: other\nuserPassword: other-secret\n")
    for password in ("one-secret", "other-secret"):
        with pytest.raises(AuthenticationFailed, match="2 entries"):
            await connect().check_password("twin", password)
    with pytest.raises(AuthenticationFailed, match="2 entries"):
        await connect().look_up("twin", "publickey")


async def test_names_of_all_alphabets_and_with_every_special_character_work(slapd: Slapd, connect: Connect) -> None:
    """What must be escaped in DNs and filters is a name like any other."""
    slapd.add(Person("jürgen", "schlüssel-✓"), groups=["dev"])
    dn = f"cn=Smith (ext.)\\, J\\\\ohn * \\#1,{USER_BASE}"
    slapd.modify(f"dn: {dn}\nobjectClass: inetOrgPerson\nuid: smith\nsn: smith\nuserPassword: smith-secret\n")
    slapd.modify(f"dn: cn=R\\, D (all),{GROUP_BASE}\nobjectClass: groupOfNames\nmember: {dn}\n")
    assert (await connect().check_password("JÜRGEN", "schlüssel-✓")).groups == {"dev"}
    assert (await connect().check_password("smith", "smith-secret")).groups == {"R, D (all)"}


async def test_someone_may_be_found_by_another_attribute_and_keeps_one_login(slapd: Slapd, connect: Connect) -> None:
    """The first attribute of the filter is the login, whichever was typed."""
    slapd.add(Person("erika", "erika-secret", more=(("mail", "e.m@corp.example"),)))
    directory = connect(user_filter="(|(uid={login})(mail={login}))")
    for typed in ("erika", "E.M@corp.example"):
        assert (await directory.check_password(typed, "erika-secret")).login == "erika"


async def test_an_anonymous_search_works_only_where_the_directory_allows_it(connect: Connect) -> None:
    """Without a service account nothing is found here: anonymous may not read."""
    with pytest.raises((AuthenticationFailed, DirectoryUnavailable)):
        await connect(bind_dn="", bind_password="").check_password("alice", "alice-secret")


# Groups


async def test_groups_come_from_the_filter_and_from_member_of(slapd: Slapd, connect: Connect) -> None:
    """Either source is enough, and both add up."""
    slapd.add(Person("gina", "gina-secret"), groups=["dev"])
    slapd.modify(f"dn: cn=posix,{GROUP_BASE}\nobjectClass: posixGroup\ngidNumber: 7\nmemberUid: gina\n")
    by_member_of = connect(group_filter="(cn=none-at-all)")
    by_both = connect(group_filter="(&(objectClass=posixGroup)(memberUid={login}))")
    assert (await by_member_of.look_up("gina", "publickey")).groups == {"dev"}
    assert (await by_both.look_up("gina", "publickey")).groups == {"dev", "posix"}


async def test_a_group_of_the_same_name_elsewhere_is_no_group(slapd: Slapd, connect: Connect) -> None:
    """Who may make entries among the people cannot make themselves a member of platform."""
    slapd.add(Person("sly", "sly-secret"))
    slapd.modify(f"dn: cn=platform,{USER_BASE}\nobjectClass: groupOfNames\nmember: uid=sly,{USER_BASE}\n")
    assert (await connect().look_up("sly", "publickey")).groups == frozenset()
    assert (await connect(group_base=BASE).look_up("sly", "publickey")).groups == {"platform"}
    assert (await connect(group_base="").look_up("sly", "publickey")).groups == frozenset()


async def test_nested_groups_are_asked_for_by_active_directory_s_rule(slapd: Slapd, connect: Connect) -> None:
    """The filter names LDAP_MATCHING_RULE_IN_CHAIN; a server that does not know the rule finds no group by it."""
    directory = connect(nested_groups=True)
    assert (await directory.look_up("alice", "publickey")).groups == {"dev", "logging-dev"}  # by memberOf
    proxy = in_front_of(slapd.url.replace("ldap", "tcp"))
    proxy.hang_at = re.compile(rb"1\.2\.840\.113556\.1\.4\.1941.*uid=alice", re.DOTALL)
    async with proxy.serve():
        with pytest.raises(DirectoryUnavailable):
            await connect(f"ldap://127.0.0.1:{proxy.port}", nested_groups=True, timeout=2.0).look_up("alice", "publickey")
        assert proxy.hung.is_set()


# Accounts


@pytest.mark.parametrize(
    ("more", "relaxed", "fault"),
    [
        ((("objectClass", "shadowAccount"), ("shadowExpire", "1")), "", "expired"),
        ((), "pwdAccountLockedTime: 000001010000Z", "locked"),
        ((), "pwdAccountLockedTime: 20260101000000Z", "locked"),
    ],
)
async def test_an_account_that_is_over_or_locked_opens_nothing(
    slapd: Slapd, connect: Connect, more: tuple[tuple[str, str], ...], relaxed: str, fault: str
) -> None:
    """Neither its password nor its key."""
    login = f"off{abs(hash((more, relaxed)))}"
    slapd.add(Person(login, "off-secret", more=more))
    if relaxed:
        slapd.modify(f"dn: uid={login},{USER_BASE}\nchangetype: modify\nadd: pwdAccountLockedTime\n{relaxed}\n", relax=True)
    with pytest.raises(AuthenticationFailed, match=fault):
        await connect().look_up(login, "publickey")
    with pytest.raises(AuthenticationFailed):
        await connect().check_password(login, "off-secret")


# Keys


async def test_a_key_taken_away_is_gone_at_once(slapd: Slapd, connect: Connect) -> None:
    """The keyring is a hint: what it says is held against the entry."""
    line, fingerprint = public_key()
    slapd.add(Person("kim", "kim-secret", (line,)))
    directory = connect()
    assert (await directory.by_key(fingerprint)).login == "kim"
    slapd.modify(f"dn: uid=kim,{USER_BASE}\nchangetype: modify\ndelete: sshPublicKey\n")
    with pytest.raises(AuthenticationFailed):
        await directory.by_key(fingerprint)


async def test_keys_are_read_in_pages_and_kept_fresh(slapd: Slapd, connect: Connect) -> None:
    """A ring of more people than a page holds all of them, also through the background reading."""
    keys = {f"paged{n}": public_key() for n in range(5)}
    for login, (line, _) in keys.items():
        slapd.add(Person(login, "secret", (line,)))
    directory = connect(page_size=2)
    running = asyncio.create_task(directory.run())
    for login, (_, fingerprint) in keys.items():
        assert (await directory.by_key(fingerprint)).login == login
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# octopus check


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bind_password": "wrong"}, "the account that searches is refused"),
        ({"user_base": f"ou=nowhere,{BASE}"}, f"ou=nowhere,{BASE}: noSuchObject"),
        ({"group_base": f"ou=nowhere,{BASE}"}, f"ou=nowhere,{BASE}: noSuchObject"),
        ({"user_filter": "(&(objectClass=device)(uid={login}))"}, "finds nobody"),
        ({"user_filter": "(&(uid={login})"}, "filter"),
        ({"bind_dn": "not a dn"}, "bind"),
    ],
)
async def test_the_probe_names_what_is_wrong(connect: Connect, wrong: dict[str, str], says: str) -> None:
    """One line for each server, with the base or the bind that is at fault, and no password in it."""
    faults = await connect(**wrong).probe()
    assert len(faults) == 1
    assert says in faults[0]
    assert BIND_PASSWORD not in faults[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": []},
        {"servers": ["http://ldap.example"]},
        {"servers": ["ldap://"]},
        {"servers": ["ldap://host:port"]},
        {"servers": ["ldaps://user:secret@host"]},
        {"ca_file": "/nonexistent/ca.pem"},
        {"user_filter": "(uid=alice)"},
        {"user_base": ""},
        {"bind_password": ""},
        {"group_base": "not a dn"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(slapd: Slapd, wrong: dict[str, Any]) -> None:
    """A directory that would let in nobody, or everybody, is not made."""
    usual = {"servers": [slapd.url], "bind_dn": BIND_DN, "bind_password": "x", "user_base": USER_BASE, "user_filter": "(uid={login})"}
    with pytest.raises(ValueError, match=r".") as refusal:
        LdapDirectory(**usual | wrong)
    assert "secret" not in str(refusal.value)
