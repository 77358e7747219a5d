"""What the UNIQUE daemon did, on record: a short history, counters, the audit trail and the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from octopus.core.errors import printable
from octopus.core.ports import AuditLog
from octopus.core.times import rfc3339
from octopus.core.types import AuditEvent
from octopus.core.unique import Coverage, Standing, Verdict
from octopus.core.unique_actions import Action, Counters, Did, one_failure, one_more

MAX_ACTIONS = 1000
MOST_HOSTS = 20
"""Hosts named in one entry."""
MAX_WHY = 1000
"""Characters of a reason."""

_log = structlog.get_logger(__name__)


class UniqueRecord:
    """The last ``max_actions`` actions and the counters. ``clock`` gives seconds since 1970, ``new_id`` random text."""

    def __init__(self, log: AuditLog, *, clock: Callable[[], float], new_id: Callable[[], str], max_actions: int = MAX_ACTIONS) -> None:
        self.actions: deque[Action] = deque(maxlen=max_actions)
        self.counters = Counters()
        self._audit = log
        self._clock = clock
        self._new_id = new_id

    def looked(self) -> None:
        """Count a look at the cluster."""
        self.counters = msgspec.structs.replace(self.counters, looks=self.counters.looks + 1)

    def failed(self, kind: str) -> None:
        """Count what went wrong."""
        self.counters = one_failure(self.counters, kind)

    def action(
        self, found: Coverage, did: Did, why: str, *, operator: str = "", deployment: str = "", hosts: Sequence[str] | None = None
    ) -> Action:
        """Return an action on an app; ``hosts`` left out are those that would take an instance now."""
        missing = [host.hostname for host in found.hosts if host.standing is Standing.MISSING] if hosts is None else hosts
        step = found.step
        return Action(
            time=rfc3339(self._clock()),
            app=found.app,
            did=did,
            instances=found.instances,
            wanted=step.instances if step.verdict is Verdict.SCALE else step.wanted,
            why=printable(why, MAX_WHY),
            operator=printable(operator),
            deployment=printable(deployment),
            hosts=tuple(printable(host) for host in missing[:MOST_HOSTS]),
        )

    def keep(self, action: Action) -> None:
        """Put an action into the history, the counters and the log."""
        self.actions.append(action)
        self.counters = one_more(self.counters, action.did)
        _log.info("UNIQUE app", app=action.app, did=action.did.value, instances=action.instances, wanted=action.wanted, why=action.why)

    async def audit(self, event: str, action: Action) -> None:
        """Put an action on the audit trail. Raise AuditUnavailable."""
        data = {"instances": action.instances, "wanted": action.wanted, "why": action.why, "hosts": list(action.hosts)}
        more = {"operator": action.operator, "deployment": action.deployment}
        told = data | {name: value for name, value in more.items() if value}
        await self._audit.append(AuditEvent(event=event, key=f"{event}/{self._new_id()}", target={"app": action.app}, data=told))
