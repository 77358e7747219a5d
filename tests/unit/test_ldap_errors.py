"""No error of the LDAP library, of sockets or of TLS leaves the identity room as itself."""

from __future__ import annotations

import inspect
import socket
import ssl
import struct

import pytest
from ldap3.core import exceptions
from pyasn1.error import PyAsn1Error  # type: ignore[import-untyped]

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.identity.ldap_answers import as_ours
from octopus.identity.ldap_wire import read_dn
from octopus.identity.unsettled import PasswordUnsettled

FOREIGN = sorted(
    (kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, exceptions.LDAPException)),
    key=lambda kind: str(kind.__name__),
)
OTHERS = (
    ConnectionRefusedError,
    ConnectionResetError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
    ssl.SSLCertVerificationError,
    PyAsn1Error,
    UnicodeError,
    struct.error,
    IndexError,
    KeyError,
    TypeError,
)


def test_the_walk_finds_the_library_s_whole_tree() -> None:
    """The list is not empty by accident."""
    assert len(FOREIGN) > 80


@pytest.mark.parametrize("kind", [*FOREIGN, *OTHERS])
def test_every_foreign_error_comes_out_as_ours_with_its_cause(kind: type[Exception]) -> None:
    """The operator hears what was being done, the program a type of ours, the debugger the cause; the person nothing of it."""
    cause = kind("\x1b[31mupstream text")
    with pytest.raises(DirectoryUnavailable) as failure, as_ours("ldap://host: search"):
        raise cause
    assert failure.value.__cause__ is cause
    assert str(failure.value).startswith("ldap://host: search: ")
    assert "\x1b" not in str(failure.value)
    assert failure.value.notice == DirectoryUnavailable.default_notice


@pytest.mark.parametrize("error", [AuthenticationFailed("a"), DirectoryUnavailable("b"), PasswordUnsettled("c")])
def test_our_own_errors_pass_unchanged(error: Exception) -> None:
    """What was already understood is not wrapped again."""
    with pytest.raises(type(error)) as failure, as_ours("ldap://host: search"):
        raise error
    assert failure.value is error


@pytest.mark.parametrize(
    ("dn", "rdns"),
    [
        ("cn=dev,ou=groups", ((("cn", "dev"),), (("ou", "groups"),))),
        ("CN=a\\,b+OU=c , dc=x", ((("cn", "a,b"), ("ou", "c")), (("dc", "x"),))),
        ("cn=M\\C3\\BCller", ((("cn", "Müller"),),)),
        ("cn=a\\\\b", ((("cn", "a\\b"),),)),
    ],
)
def test_a_dn_is_read_with_its_escapes_undone(dn: str, rdns: object) -> None:
    """RFC 4514: escaped characters and bytes come out as what they stand for."""
    assert read_dn(dn) == rdns


@pytest.mark.parametrize("dn", ["", "cn", "cn=", "=x", "cn=a\\", "cn=a\\zz", "cn=\\FF"])
def test_what_is_no_dn_is_a_value_error(dn: str) -> None:
    """Nonsense in place of a DN has one error."""
    with pytest.raises(ValueError, match="not a DN"):
        read_dn(dn)
