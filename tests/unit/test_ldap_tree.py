"""Reading people out of entries, where slapd has not the attributes of other directories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.identity.ldap_answers import Entry, Found
from octopus.identity.ldap_tree import Tree

DN = "CN=Alice,OU=People,DC=corp,DC=example"


class Answers:
    """A session whose every search finds the same; keeps the filters it was asked."""

    url = "ldap://answers"

    def __init__(self, *entries: Entry, complete: bool = True) -> None:
        self.found = Found(entries=entries, complete=complete)
        self.asked: list[str] = []

    def search(self, base: str, query: str, attributes: Sequence[str], *, size_limit: int) -> Found:
        """Return what was prepared."""
        self.asked.append(query)
        return self.found

    def pages(self, base: str, query: str, attributes: Sequence[str], *, page_size: int) -> Iterator[tuple[Entry, ...]]:
        """Yield what was prepared, an entry a page."""
        self.asked.append(query)
        for entry in self.found.entries:
            yield (entry,)


def _tree(**settings: Any) -> Tree:
    usual = {"user_base": "OU=People,DC=corp,DC=example", "user_filter": "(sAMAccountName={login})", "group_base": "DC=corp,DC=example"}
    return Tree(**usual | settings)


def _entry(login: str = "alice", dn: str = DN, **attributes: Sequence[str]) -> Entry:
    values = {"samaccountname": [login], **attributes}
    return Entry(dn=dn, attributes={name: tuple(value.encode() for value in texts) for name, texts in values.items()})


def _find(tree: Tree, answers: Answers, login: str = "alice") -> Any:
    return tree.find(answers, login)  # type: ignore[arg-type]


def test_active_directory_s_alt_security_identities_are_keys_too() -> None:
    """With or without the prefix some tools write; what is no key is left to whoever reads the lines."""
    entry = _entry(
        altsecurityidentities=["ssh-ed25519 AAAA", "SSHKey: ssh-rsa BBBB", "X509:<I>DC=corp<S>CN=alice"], sshpublickey=["ssh-rsa CCCC"]
    )
    assert _find(_tree(), Answers(entry)).keys == ("ssh-rsa CCCC", "ssh-ed25519 AAAA", "ssh-rsa BBBB", "X509:<I>DC=corp<S>CN=alice")


@pytest.mark.parametrize("spelling", ["Alice", "ALICE", "\uff41lice"])
def test_the_login_is_the_directory_s_spelling(spelling: str) -> None:
    """Case and width do not make another person."""
    assert _find(_tree(), Answers(_entry("alice")), spelling).login == "alice"


@pytest.mark.parametrize("found", ["\u00e1lice", "alice2", "al ice", ""])
def test_a_loose_match_of_the_directory_s_is_none(found: str) -> None:
    """Accents and what else a server ignores would give one account many names, each with attempts of its own."""
    with pytest.raises(AuthenticationFailed, match="another login"):
        _find(_tree(), Answers(_entry(found)))


def test_the_filter_carries_the_login_escaped() -> None:
    """No character of a login is syntax in a filter."""
    answers = Answers()
    with pytest.raises(AuthenticationFailed):
        _find(_tree(), answers, "*)(uid=\\*")
    assert answers.asked == ["(sAMAccountName=\\2a\\29\\28uid=\\5c\\2a)"]


def test_group_names_are_the_first_cn_and_lie_under_the_base() -> None:
    """Case of the DN does not matter; other RDNs, other trees and nonsense are no groups."""
    member_of = ["CN=Dev,OU=Groups,dc=CORP,dc=example", "OU=Ops,DC=corp,DC=example", "CN=platform,DC=evil,DC=example", "nonsense"]
    tree, answers = _tree(), Answers(_entry(memberof=member_of))
    person = _find(tree, answers)
    groups = tree.groups(Answers(Entry(dn="cn=a+ou=b,dc=corp,dc=example", attributes={})), person)  # type: ignore[arg-type]
    assert groups == {"Dev", "a"}


def test_more_groups_than_the_limit_are_a_failure_and_not_a_part() -> None:
    """Rules are matched in order, so a missing group could open what another closes."""
    tree = _tree()
    person = _find(tree, Answers(_entry()))
    with pytest.raises(DirectoryUnavailable, match="more than"):
        tree.groups(Answers(complete=False), person)  # type: ignore[arg-type]


def test_more_people_than_the_limit_are_a_failure() -> None:
    """The keyring's memory has an end."""
    tree = _tree(max_people=2)
    answers: Any = Answers(*(_entry(f"user{n}") for n in range(3)))
    with pytest.raises(DirectoryUnavailable, match="more than 2 people"):
        list(tree.people_with_keys(answers, page_size=1))


def test_people_without_a_usable_login_own_no_keys() -> None:
    """An entry with no login, several, or one that nobody can type is passed over."""
    several = Entry(dn=DN, attributes={"samaccountname": (b"a", b"b")})
    answers: Any = Answers(_entry(), several, _entry("a\x1bb"), Entry(dn=DN, attributes={}), _entry("bob", dn=""))
    assert [person.login for person in _tree().people_with_keys(answers, page_size=1)] == ["alice"]
