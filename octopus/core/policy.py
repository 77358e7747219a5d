"""Who may do what where: rules in the order of the file, the first that matches decides, and nothing matching is a no.

Pure: decided on the resolved target, from what Mesos and Marathon say of it, never from the container itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from octopus.core.globs import Glob
from octopus.core.paths import PathRule
from octopus.core.types import (
    CAPABILITIES,
    TRANSFERS,
    Allow,
    Deny,
    ExecSpec,
    FileRights,
    Identity,
    Obligations,
    RequestKind,
    SessionRequest,
    Target,
    Value,
)

ALLOW_GROUPS_LABEL = "OCTOPUS_ALLOW_GROUPS"
"""The Marathon label with which an app's owners let groups in: names of groups, separated by commas."""
LABEL_CAPABILITIES = CAPABILITIES - {RequestKind.FORWARD}
"""What the label grants. Reaching into the agent's network stays with the rules."""
LABEL_RULE = "label"

MAX_PEOPLE = 1024
"""People whose rules are remembered."""

DEFAULT_LANG = "C.UTF-8"
DEFAULT_TERM = "xterm"
MAX_ENV_VALUE = 256
MAX_ENV = 32
"""Variables a client may set, and characters in the value of each."""

_ENV_NAME = re.compile(r"LANG|LC_[A-Za-z0-9_]{1,40}")
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,63})?|")
"""``user`` or ``user:group`` in a container, or nothing."""


class _People(Value, frozen=True, kw_only=True):
    """Logins and groups in the form in which they compare."""

    logins: frozenset[str]
    groups: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One ``[[policy]]``: people (in one of ``groups``, or one of ``users``) at ``apps`` may do what is in ``allow``.

    Case does not count in names of people and groups, as it does not to directories: a rule that denies must not be missed for it.
    An empty ``allow`` is a rule that denies. ``run_as`` is ``user[:group]`` in the container, "" the image's; ``idle_timeout``
    in seconds, 0 is off, as is a ``max_sessions`` of 0. ``paths`` are globs over the paths of files that ``download`` and
    ``upload`` are for, after links are followed; () is all. Of files that pass, up to ``keep_files`` bytes (0 is off), the gateway
    keeps a copy. ``forward_localhost`` adds to ``forward`` the ports on the container's own loopback.
    Raise ValueError for a rule that could match nobody or nothing.
    """

    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    apps: tuple[str, ...]
    allow: frozenset[RequestKind]
    run_as: str = ""
    record_input: bool = False
    record_output: int = 0
    idle_timeout: float = 0.0
    max_sessions: int = 0
    keep_background: bool = False
    paths: tuple[str, ...] = ()
    keep_files: int = 0
    forward_localhost: bool = False
    _people: _People = field(init=False, repr=False, compare=False)
    _globs: tuple[Glob, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fold the names and read the globs once; refuse a rule without people or apps."""
        if not (self.groups or self.users) or not all(self.groups | self.users):
            raise ValueError("a rule names its people: groups or users")
        if not self.apps:
            raise ValueError("a rule names its apps")
        if not USER.fullmatch(self.run_as):
            raise ValueError("run_as is a user or user:group")
        if not self.idle_timeout >= 0 or min(self.max_sessions, self.keep_files, self.record_output) < 0:
            raise ValueError("idle_timeout, max_sessions, keep_files and record_output are 0 or more")
        if not self.allow <= CAPABILITIES:
            raise ValueError("sftp and scp are allowed by download and upload")
        if self.forward_localhost and RequestKind.FORWARD not in self.allow:
            raise ValueError('forward_localhost takes "forward" in allow')
        PathRule(self.paths)
        object.__setattr__(self, "_people", _People(logins=_folded(self.users), groups=_folded(self.groups)))
        object.__setattr__(self, "_globs", tuple(Glob(app) for app in self.apps))

    def speaks_of(self, person: _People) -> bool:
        """Tell whether this rule speaks of somebody, given by their one login and their groups, folded."""
        return not (self._people.logins.isdisjoint(person.logins) and self._people.groups.isdisjoint(person.groups))

    def covers(self, app: str) -> bool:
        """Tell whether this rule speaks of that app."""
        return any(glob.matches(app) for glob in self._globs)


class _Grant(Value, frozen=True, kw_only=True):
    """What the deciding rule, or the label, gives."""

    name: str
    allow: frozenset[RequestKind]
    obligations: Obligations = Obligations()
    run_as: str = ""
    keep_background: bool = False
    paths: tuple[str, ...] = ()
    keep_files: int = 0
    forward_localhost: bool = False


_NOTHING = _Grant(name="", allow=frozenset())
_LABEL = _Grant(name=LABEL_RULE, allow=LABEL_CAPABILITIES)


class Policy:
    """The rules in their order; ``labels`` switches the Marathon label on.

    The label is read after the rules and only where none matched: a rule always has the last word. A rule is named
    ``policy[N]``, N its place in the file from 0.
    """

    def __init__(self, rules: Iterable[Rule], *, labels: bool = False) -> None:
        self._rules = tuple((rule, _grant(place, rule)) for place, rule in enumerate(rules))
        self._labels = labels
        # A picker asks of one person about thousands of apps.
        self._rules_of = lru_cache(MAX_PEOPLE)(self._find_rules_of)

    def decide(self, identity: Identity, target: Target, request: SessionRequest, token: str) -> Allow | Deny:
        """Return what may be started, or the no; the only maker of an ExecSpec. ``token`` marks the session's processes."""
        grant = self._grant_for(identity, target.app, target.labels)
        if not _allowed(request, grant.allow):
            return Deny(rule=grant.name)
        spec = ExecSpec(
            command=request.command if request.kind is RequestKind.EXEC else None,
            pty=request.pty,
            env=environment(request),
            user=grant.run_as,
            token=token,
            keep_background=grant.keep_background,
        )
        return Allow(
            spec=spec,
            rule=grant.name,
            obligations=grant.obligations,
            files=_file_rights(request, grant),
            forward_localhost=request.kind is RequestKind.FORWARD and grant.forward_localhost,
        )

    def may_see(self, identity: Identity, app: str, labels: Mapping[str, str]) -> bool:
        """Tell whether the person may do anything at all at that app, so may learn that it exists."""
        return bool(self._grant_for(identity, app, labels).allow)

    def rights(self, identity: Identity, app: str, labels: Mapping[str, str]) -> tuple[str, frozenset[RequestKind]]:
        """Return the rule that speaks of the person and that app ("" for none), and what it allows."""
        grant = self._grant_for(identity, app, labels)
        return grant.name, grant.allow

    def _grant_for(self, identity: Identity, app: str, labels: Mapping[str, str]) -> _Grant:
        for rule, grant in self._rules_of(identity):
            if rule.covers(app):
                return grant
        if self._labels and app and not _folded(identity.groups).isdisjoint(_label_groups(labels)):
            return _LABEL
        return _NOTHING

    def _find_rules_of(self, identity: Identity) -> tuple[tuple[Rule, _Grant], ...]:
        person = _People(logins=_folded([identity.login]), groups=_folded(identity.groups))
        return tuple((rule, grant) for rule, grant in self._rules if rule.speaks_of(person))


def _allowed(request: SessionRequest, allow: frozenset[RequestKind]) -> bool:
    if request.kind in TRANSFERS:
        return RequestKind.DOWNLOAD in allow or RequestKind.UPLOAD in allow
    return request.kind in allow and not (request.kind is RequestKind.EXEC and request.command is None)


def _file_rights(request: SessionRequest, grant: _Grant) -> FileRights:
    if request.kind not in TRANSFERS:
        return FileRights()
    return FileRights(
        download=RequestKind.DOWNLOAD in grant.allow,
        upload=RequestKind.UPLOAD in grant.allow,
        paths=grant.paths,
        keep=grant.keep_files,
    )


def environment(request: SessionRequest) -> dict[str, str]:
    """Return the variables a command gets: LANG and LC_* as sent, LANG=C.UTF-8 when not sent, TERM of the pty.

    Others are dropped, and so is a value that is not printable ASCII of 1 to 256 characters. A TERM that cannot be the name of
    a terminal becomes ``xterm``; without a pty there is none unless the client sends one.
    """
    sent = {name: value for name, value in request.env.items() if _ENV_NAME.fullmatch(name) and _is_plain(value)}
    kept = {"LANG": DEFAULT_LANG} | dict(list(sent.items())[:MAX_ENV])
    term = request.pty.term if request.pty else request.env.get("TERM", "")
    if _TERM.fullmatch(term):
        return kept | {"TERM": term}
    return kept | {"TERM": DEFAULT_TERM} if request.pty else kept


def _is_plain(value: str) -> bool:
    return 0 < len(value) <= MAX_ENV_VALUE and value.isascii() and value.isprintable()


def _label_groups(labels: Mapping[str, str]) -> frozenset[str]:
    return _folded(group.strip() for group in labels.get(ALLOW_GROUPS_LABEL, "").split(",")) - {""}


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _grant(place: int, rule: Rule) -> _Grant:
    return _Grant(
        name=f"policy[{place}]",
        allow=rule.allow,
        obligations=Obligations(
            record_input=rule.record_input,
            record_output=rule.record_output,
            idle_timeout=rule.idle_timeout,
            max_sessions=rule.max_sessions,
        ),
        run_as=rule.run_as,
        keep_background=rule.keep_background,
        paths=rule.paths,
        keep_files=rule.keep_files,
        forward_localhost=rule.forward_localhost,
    )
