"""What may be taken for a login, and when two spellings are the same login."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from octopus.core.errors import AuthenticationFailed, printable

MAX_LOGIN = 256
"""Characters; the longest user name that Active Directory and POSIX directories hold."""


def is_login(text: str) -> bool:
    """Tell whether ``text`` may be asked of a directory: 1…256 printable characters, no space at either end."""
    return 0 < len(text) <= MAX_LOGIN and text.isprintable() and text == text.strip()


def fold(login: str) -> str:
    """Return the one spelling for all that a directory takes for the same login (RFC 4518: case, width, runs of spaces)."""
    return " ".join(unicodedata.normalize("NFKC", login).casefold().split())


def one_owner(owners: Sequence[str], login: str, fingerprint: str) -> str:
    """Return the one owner of a key, of those called ``login`` where one is said ("" is none). Raise AuthenticationFailed."""
    if login:
        owners = [owner for owner in owners if fold(owner) == fold(login)]
    if len(owners) != 1:
        whose = f"of {printable(login)}" if login else "of one person"
        raise AuthenticationFailed(f"the key {printable(fingerprint)} is not {whose} ({len(owners)} owners)")
    return owners[0]
