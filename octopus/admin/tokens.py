"""Tokens of machines: a private TOML file that holds only their hashes.

[[token]]
name = "ci"
sha256 = "…"                # printf %s TOKEN | sha256sum
role = "viewer"             # or "operator"
"""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from octopus.admin.visits import Role
from octopus.core.errors import ConfigError, printable
from octopus.core.types import Identity, Value

MAX_FILE = 1 << 20
METHOD = "token"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = {"name", "sha256", "role"}


class Token(Value, frozen=True, kw_only=True):
    """One entry."""

    name: str
    sha256: str
    role: Role

    @property
    def identity(self) -> Identity:
        """Return who the machine is on the trail; no person is called so, and no group is its own."""
        return Identity(login=f"token:{self.name}", method=METHOD)


class Tokens:
    """The tokens there are."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = tuple(tokens)

    def find(self, text: str) -> Token | None:
        """Return whose it is, None when it is nobody's; how long that takes does not depend on the text."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        found = [token for token in self._tokens if hmac.compare_digest(token.sha256, digest)]
        return found[0] if found else None


def read(path: str) -> Tokens:
    """Return the tokens of a file, none of "". Raise ConfigError with all its faults."""
    if not path:
        return Tokens()
    try:
        with Path(path).open("rb") as file:
            return parse(file.read(MAX_FILE).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            [f"[admin] tokens_file: {path}: cannot be read: {error.strerror if isinstance(error, OSError) else error}"]
        ) from error


def parse(text: str) -> Tokens:
    """Return the tokens of a text. Raise ConfigError with all its faults; none of them quotes a hash."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"[admin] tokens_file: {printable(str(error))}"]) from error
    tables = document.get("token", [])
    faults = [f"{printable(key)}: unknown key" for key in document if key != "token"]
    tokens: dict[str, Token] = {}
    for place, table in enumerate(tables if isinstance(tables, list) else []):
        wrong = _fault(table)
        if not wrong and table["name"] in tokens:
            wrong = f"there are two tokens of the name {table['name']}"
        if wrong:
            faults.append(f"token[{place}]: {wrong}")
        else:
            tokens[table["name"]] = Token(name=table["name"], sha256=table["sha256"], role=Role(table["role"]))
    if not isinstance(tables, list):
        faults.append("token: expected [[token]]")
    if faults:
        raise ConfigError([f"[admin] tokens_file: {fault}" for fault in faults])
    return Tokens(tokens.values())


def _fault(table: object) -> str:
    if not isinstance(table, dict) or set(table) != _KEYS or not all(isinstance(value, str) for value in table.values()):
        return "expected name, sha256 and role"
    if not _NAME.fullmatch(table["name"]):
        return "name is letters, digits, '.', '_' and '-'"
    if not _SHA256.fullmatch(table["sha256"]):
        return "sha256 is 64 lower-case hexadecimal digits"
    return "" if table["role"] in set(Role) else "role is viewer or operator"
