"""The grammar of SSH user names: ``[login+]target``, and the spellings of an app.

    name     = [ login "+" ] target | login "+"
    target   = body [ selector ] [ "@" agent ] | body "@" agent selector
    selector = "~" number | "~any"
    body     = an app (``/a/b``, ``a.b``, ``a_b``), a task id or its start, a container's name or id

Printable ASCII only. Whether what is named exists is the cluster's to say; here a name is only read.
"""

from __future__ import annotations

import re

from octopus.core.errors import InvalidTarget, printable
from octopus.core.types import TargetName, UserName

MAX_NAME = 512
"""Characters of a whole user name; task ids of deep Marathon groups pass 255."""
MAX_LOGIN = 64
"""Characters of a login, as the uid of LDAP schemas and POSIX allow."""
MAX_EXCERPT = 40
"""Characters of a refused name that go back to the person."""

_LOGIN = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_LOGIN - 1}}}")
# ":" and inner spaces occur in the ids of Chronos (``ct:1427914680000:0:job:args``).
_BODY = r"/?[A-Za-z0-9_](?:[A-Za-z0-9._:/ -]*[A-Za-z0-9._:-])?"
_SELECTOR = r"~(?:any|[1-9][0-9]{0,5})"
_AGENT = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}"
_TARGET = re.compile(rf"(?P<body>{_BODY})(?P<first>{_SELECTOR})?(?:@(?P<agent>{_AGENT})(?P<last>{_SELECTOR})?)?")


def parse_user_name(text: str) -> UserName:
    """Return the name in front of ssh's own ``@``, read. Raise InvalidTarget."""
    _check_text(text)
    login, plus, target = text.partition("+")
    if not plus:
        return UserName(target=_read_target(text, text))
    if not is_login(login):
        raise _invalid(text, "in front of '+' stands a login: letters, digits, '.', '_', '-'")
    return UserName(login=login, target=_read_target(target, text) if target else None)


def parse_target(text: str) -> TargetName:
    """Return a target without a login (a picked task id, a pattern's name), read. Raise InvalidTarget."""
    _check_text(text)
    return _read_target(text, text)


def is_login(text: str) -> bool:
    """Tell whether ``text`` has the form of a login: 1 to 64 letters, digits, ``.``, ``_``, ``-``."""
    return _LOGIN.fullmatch(text) is not None


def normalised(app: str) -> str:
    """Return the form in which spellings of an app compare: ``/a/b``, ``a.b`` and ``a_b`` are all ``a_b``.

    Marathon makes task ids from app ids the same way; it cannot be undone, since an element may itself hold ``.`` or ``_``.
    """
    return app.removeprefix("/").replace("/", "_").replace(".", "_")


def _check_text(text: str) -> None:
    if not text:
        raise InvalidTarget("empty name", notice="a name is missing: ssh TASK@GATEWAY or ssh LOGIN+TASK@GATEWAY")
    if len(text) > MAX_NAME:
        raise _invalid(text, f"it is longer than {MAX_NAME} characters")
    if not (text.isascii() and text.isprintable()):
        raise _invalid(text, "only printable ASCII is allowed")


def _read_target(target: str, text: str) -> TargetName:
    match = _TARGET.fullmatch(target)
    if match is None or ".." in target or "//" in target:
        raise _invalid(text, "it is no app, task id or container, with '~N', '~any' or '@agent' behind it")
    first, last = match["first"] or "", match["last"] or ""
    if first and last:
        raise _invalid(text, "one '~' is enough")
    selector = (first or last).removeprefix("~")
    return TargetName(
        text=target,
        body=match["body"],
        instance=int(selector) if selector.isdigit() else 0,
        any=selector == "any",
        agent=match["agent"] or "",
    )


def _invalid(text: str, why: str) -> InvalidTarget:
    # Letters of other alphabets are escaped as well: they can look like the ASCII ones.
    excerpt = printable(text, MAX_EXCERPT).replace("…", "...").encode("ascii", "backslashreplace").decode("ascii")
    return InvalidTarget(notice=f"cannot read the name '{excerpt}': {why}")
