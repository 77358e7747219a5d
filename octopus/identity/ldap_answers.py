"""What a directory answers, in our form: entries, results in words, and every failure as one of our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable, printable
from octopus.core.types import Value


class Entry(Value, frozen=True, kw_only=True):
    """An entry: attribute names in lower case and without options (``;range=0-1499``), values as the server sent them."""

    dn: str
    attributes: dict[str, tuple[bytes, ...]]


class Found(Value, frozen=True, kw_only=True):
    """What a search found; not ``complete`` when a size limit cut it short."""

    entries: tuple[Entry, ...]
    complete: bool


@contextmanager
def as_ours(doing: str, unavailable: type[DirectoryUnavailable] = DirectoryUnavailable) -> Iterator[None]:
    """Turn whatever fails inside into ``unavailable`` (our own errors pass), with the cause kept."""
    try:
        yield
    except (DirectoryUnavailable, AuthenticationFailed):
        raise
    except Exception as error:  # on a garbled answer ldap3 lets IndexError, KeyError, struct.error… through
        reason = printable(str(error)) or type(error).__name__
        raise unavailable(f"{doing}: {reason}") from error


def entry_of(item: Any) -> Entry:
    """Return an entry as the library holds it in our form."""
    attributes: dict[str, tuple[bytes, ...]] = {}
    for name, values in item["raw_attributes"].items():
        plain = name.partition(";")[0].lower()
        attributes[plain] = attributes.get(plain, ()) + tuple(values)
    return Entry(dn=item["raw_dn"].decode(), attributes=attributes)


def describe(result: Any) -> str:
    """Return a result in words for the operator: the protocol's name for it and what the server adds."""
    return printable(f"{result['description']} {result.get('message') or ''}".strip())
