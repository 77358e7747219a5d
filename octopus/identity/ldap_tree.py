"""Where people and groups are in a directory's tree, and how to find and read them through a session. Blocking."""

from __future__ import annotations

import re
from collections.abc import Iterator

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, printable
from octopus.core.types import Value
from octopus.identity.accounts import STATE_ATTRIBUTES
from octopus.identity.ldap_answers import Entry
from octopus.identity.ldap_wire import LdapSession, escape, read_dn
from octopus.identity.logins import fold, is_login

NESTED_GROUPS_FILTER = "(member:1.2.840.113556.1.4.1941:={dn})"
"""LDAP_MATCHING_RULE_IN_CHAIN: Active Directory follows groups in groups ([MS-ADTS] 3.1.1.3.4.4)."""

_AD_KEYS = "altSecurityIdentities"
_AD_KEY_PREFIX = re.compile(r"ssh(?:public)?key:\s*", re.IGNORECASE)
_LOGIN_TERM = re.compile(r"\(([A-Za-z][A-Za-z0-9-]*)=\{login\}\)")


class Person(Value, frozen=True, kw_only=True):
    """An entry that is somebody: ``login`` as the directory spells it, ``keys`` as lines of authorized_keys."""

    login: str
    entry: Entry
    keys: tuple[str, ...]


class Tree:
    """The bases and filters of ``[auth.ldap]``.

    ``user_filter`` compares one or more attributes with ``{login}``; the first names the attribute that holds the login.
    ``group_filter`` has ``{dn}`` and may have ``{login}``. A group's name is the ``cn`` in the first RDN of its DN; what lies
    outside ``group_base`` is no group, so that whoever may make entries elsewhere cannot make one of the same name.
    """

    def __init__(
        self,
        *,
        user_base: str,
        user_filter: str,
        group_base: str = "",
        group_filter: str = "(member={dn})",
        ssh_key_attribute: str = "sshPublicKey",
        nested_groups: bool = False,
        max_groups: int = 1000,
        max_people: int = 200_000,
    ) -> None:
        self._login_attributes = tuple(_LOGIN_TERM.findall(user_filter))
        if not self._login_attributes:
            raise ValueError("user_filter must hold a comparison of the form (attribute={login})")
        if not user_base:
            raise ValueError("user_base must not be empty")
        self.user_base = user_base
        self.group_base = group_base
        self._user_filter = user_filter
        self._group_filter = NESTED_GROUPS_FILTER if nested_groups else group_filter
        try:
            self._group_base_rdns = _folded(group_base) if group_base else ()
        except ValueError as error:
            raise ValueError(f"group_base is {error}: {printable(group_base)}") from error
        self._key_attributes = tuple(name for name in (ssh_key_attribute, _AD_KEYS) if name)
        self._max_groups = max_groups
        self._max_people = max_people

    def find(self, session: LdapSession, login: str) -> Person:
        """Return the one person with that login. Raise AuthenticationFailed: none, several, or a loose match only."""
        query = self._user_filter.replace("{login}", escape(login))
        attributes = ("memberOf", *STATE_ATTRIBUTES, *self._login_attributes, *self._key_attributes)
        found = session.search(self.user_base, query, attributes, size_limit=2)
        if len(found.entries) != 1 or not found.complete:
            raise AuthenticationFailed(f"{len(found.entries) or 'no'} entries have the login {printable(login)}")
        person = self._person(found.entries[0], login)
        if person is None:
            raise AuthenticationFailed(f"the entry found for {printable(login)} has another login")
        return person

    def groups(self, session: LdapSession, person: Person) -> frozenset[str]:
        """Return the names of the groups that list the person, and of those the entry's ``memberOf`` lists."""
        if not self.group_base:
            return frozenset()
        query = self._group_filter.replace("{dn}", escape(person.entry.dn)).replace("{login}", escape(person.login))
        found = session.search(self.group_base, query, (), size_limit=self._max_groups)
        if not found.complete:
            raise DirectoryUnavailable(f"{session.url}: more than {self._max_groups} groups of {printable(person.login)}")
        dns = [entry.dn for entry in found.entries]
        dns += [value.decode("utf-8", "replace") for value in person.entry.attributes.get("memberof", ())]
        return frozenset(filter(None, map(self._group_name, dns)))

    def people_with_keys(self, session: LdapSession, *, page_size: int) -> Iterator[Person]:
        """Yield everybody who has a public key. Raise DirectoryUnavailable when there are more than ``max_people``."""
        with_key = "".join(f"({name}=*)" for name in self._key_attributes)
        query = f"(&{self._user_filter.replace('{login}', '*')}(|{with_key}))"
        attributes = (*self._login_attributes, *self._key_attributes)
        seen = 0
        for page in session.pages(self.user_base, query, attributes, page_size=page_size):
            seen += len(page)
            if seen > self._max_people:
                raise DirectoryUnavailable(f"{session.url}: more than {self._max_people} people have keys")
            yield from filter(None, map(self._person, page))

    def check(self, session: LdapSession) -> None:
        """Raise DirectoryUnavailable when a base is missing or nobody is under ``user_base``."""
        for base in filter(None, (self.user_base, self.group_base)):
            session.exists(base)
        anybody = session.search(self.user_base, self._user_filter.replace("{login}", "*"), (), size_limit=1)
        if not anybody.entries:
            raise DirectoryUnavailable(f"{session.url}: user_filter finds nobody under {self.user_base}")

    def _person(self, entry: Entry, login: str = "") -> Person | None:
        """Read an entry; None when it has no DN, or no login that can be used, or not the ``login`` asked for."""
        own = _texts(entry, self._login_attributes[0])
        if login:
            # Directories also match what is alike (accents, ignorable characters): each such spelling would be a login
            # of its own to the limits and to the policy.
            if fold(login) not in {fold(text) for name in self._login_attributes for text in _texts(entry, name)}:
                return None
            own = [text for text in own if fold(text) == fold(login)] or own
        if not entry.dn or len(own) != 1 or not is_login(own[0]):
            return None
        keys = (_AD_KEY_PREFIX.sub("", text, count=1) for name in self._key_attributes for text in _texts(entry, name))
        return Person(login=own[0], entry=entry, keys=tuple(keys))

    def _group_name(self, dn: str) -> str:
        try:
            rdns = _folded(dn)
            depth = len(self._group_base_rdns)
            if len(rdns) <= depth or rdns[-depth:] != self._group_base_rdns:
                return ""
            return next((value for kind, value in read_dn(dn)[0] if kind == "cn"), "")
        except ValueError:
            return ""


def _folded(dn: str) -> tuple[frozenset[tuple[str, str]], ...]:
    """Return a DN in a form to compare: without regard to case, or to the order within an RDN."""
    return tuple(frozenset((kind, fold(value)) for kind, value in rdn) for rdn in read_dn(dn))


def _texts(entry: Entry, name: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in entry.attributes.get(name.lower(), ())]
