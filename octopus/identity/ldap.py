"""LDAP as the directory: the people of a company, their groups, keys and the state of their accounts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, printable
from octopus.core.types import Identity
from octopus.identity.accounts import account_fault
from octopus.identity.keyring import KeyOwner, Keyring
from octopus.identity.keys import is_fingerprint, read_lines
from octopus.identity.ldap_failover import Failover
from octopus.identity.ldap_tree import Person, Tree
from octopus.identity.ldap_wire import LdapServer, LdapSession
from octopus.identity.logins import is_login, one_owner
from octopus.identity.passwords import is_password

_MAX_OWNERS = 8
"""Owners of one key that are looked at; a key of more people is nobody's."""


class LdapDirectory:
    """A ``Directory`` over one or more LDAP servers, tried in order (see ``Tree`` for bases, filters and groups).

    ``timeout`` seconds are what one server gets for one question, connecting included; a question may take that for each
    server. ``bind_dn`` and ``bind_password`` both empty search anonymously. ``nested_groups`` asks Active Directory for groups
    in groups and replaces ``group_filter``. Raises ValueError for what cannot work.
    """

    def __init__(
        self,
        *,
        servers: Sequence[str],
        user_base: str,
        user_filter: str,
        bind_dn: str = "",
        bind_password: str = "",
        group_base: str = "",
        group_filter: str = "(member={dn})",
        ssh_key_attribute: str = "sshPublicKey",
        nested_groups: bool = False,
        start_tls: bool = False,
        ca_file: str = "",
        timeout: float = 5.0,
        retry_after: float = 30.0,
        threads: int = 8,
        max_waiting: int = 256,
        refresh_interval: float = 300.0,
        refresh_timeout: float = 60.0,
        page_size: int = 500,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tree = Tree(
            user_base=user_base,
            user_filter=user_filter,
            group_base=group_base,
            group_filter=group_filter,
            ssh_key_attribute=ssh_key_attribute,
            nested_groups=nested_groups,
        )
        self._servers = tuple(
            LdapServer(url, bind_dn=bind_dn, bind_password=bind_password, start_tls=start_tls, ca_file=ca_file) for url in servers
        )
        self._failover = Failover(self._servers, retry_after=retry_after, threads=threads, max_waiting=max_waiting)
        self._timeout = timeout
        self._refresh_timeout = refresh_timeout
        self._page_size = page_size
        self._clock = clock
        self._keyring = Keyring(self._read_keys, clock=time.monotonic, refresh_interval=refresh_interval)

    async def run(self) -> None:
        """Keep the keyring fresh until cancelled."""
        await self._keyring.run()

    async def refresh_keys(self) -> None:
        """Read the keyring now. Raise DirectoryUnavailable."""
        await self._keyring.refresh()

    async def check_password(self, login: str, password: str) -> Identity:
        """See ``Directory``: search, exactly one entry, bind as that entry."""
        if not is_login(login) or not is_password(password):
            raise AuthenticationFailed(f"no login or no password that could be asked for: {printable(login)}")
        return await self._failover.ask(partial(self._check_password, login, password), within=self._timeout)

    async def look_up(self, login: str, method: str) -> Identity:
        """See ``Directory``."""
        if not is_login(login):
            raise AuthenticationFailed(f"no login that could be asked for: {printable(login)}")
        return await self._failover.ask(partial(self._look_up, login, method), within=self._timeout)

    async def by_key(self, fingerprint: str, login: str = "") -> Identity:
        """See ``Directory``. What the keyring says is held against the owners' entries, so a key taken away is gone at once."""
        logins = await self._keyring.owners(fingerprint) if is_fingerprint(fingerprint) else ()
        if not logins or len(logins) > _MAX_OWNERS:
            raise AuthenticationFailed(f"the key {printable(fingerprint)} has {len(logins)} owners")
        return await self._failover.ask(partial(self._by_key, logins, fingerprint, login), within=self._timeout)

    async def probe(self) -> list[str]:
        """Return one line for each server that cannot serve (reach, TLS, bind, bases), [] when all can."""
        faults = []
        for server in self._servers:
            try:
                await self._failover.ask_one(server, self._probe, within=self._timeout)
            except DirectoryUnavailable as error:
                faults.append(str(error))
        return faults

    async def aclose(self) -> None:
        """Release the threads, then what connections were kept."""
        await self._failover.aclose()
        for server in self._servers:
            server.close()

    # What follows runs in a thread, on one server.

    def _check_password(self, login: str, password: str, server: LdapServer) -> Identity:
        with server.session(timeout=self._timeout) as session:
            person = self._tree.find(session, login)
            self._check_account(person, bound=True)  # what a bind cannot settle saves the bind
            server.check_bind(person.entry.dn, password, timeout=session.remaining())
            return self._identity(session, person, "password")

    def _look_up(self, login: str, method: str, server: LdapServer) -> Identity:
        with server.session(timeout=self._timeout) as session:
            person = self._tree.find(session, login)
            self._check_account(person, bound=False)
            return self._identity(session, person, method)

    def _by_key(self, logins: Sequence[str], fingerprint: str, login: str, server: LdapServer) -> Identity:
        with server.session(timeout=self._timeout) as session:
            found = {one: person for one in logins if (person := self._still_owner(session, one, fingerprint))}
            person = found[one_owner(list(found), login, fingerprint)]
            self._check_account(person, bound=False)
            return self._identity(session, person, "publickey")

    def _still_owner(self, session: LdapSession, login: str, fingerprint: str) -> Person | None:
        try:
            person = self._tree.find(session, login)
        except AuthenticationFailed:
            return None
        return person if fingerprint in read_lines(person.keys, self._clock()).fingerprints else None

    def _probe(self, server: LdapServer) -> None:
        with server.session(timeout=self._timeout) as session:
            self._tree.check(session)

    async def _read_keys(self) -> list[KeyOwner]:
        return await self._failover.ask(self._all_keys, within=self._refresh_timeout)

    def _all_keys(self, server: LdapServer) -> list[KeyOwner]:
        with server.session(timeout=self._refresh_timeout) as session:
            return [self._key_owner(person) for person in self._tree.people_with_keys(session, page_size=self._page_size)]

    def _key_owner(self, person: Person) -> KeyOwner:
        found = read_lines(person.keys, self._clock())
        return KeyOwner(login=person.login, fingerprints=found.fingerprints, skipped=len(found.skipped))

    def _identity(self, session: LdapSession, person: Person, method: str) -> Identity:
        return Identity(login=person.login, groups=self._tree.groups(session, person), method=method)

    def _check_account(self, person: Person, *, bound: bool) -> None:
        if fault := account_fault(person.entry.attributes, now=self._clock(), bound=bound):
            raise AuthenticationFailed(f"{printable(person.login)}: {fault}")
