"""What the admin shows of the cluster: tasks and who may enter them, capacity, UNIQUE apps."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

from octopus.admin.shapes import Scaled, TaskLine, TasksPage, UniqueApp, UniquePage
from octopus.core.cluster import Cluster
from octopus.core.errors import NoSuchTarget, OrchestratorUnavailable, printable
from octopus.core.find import host as agent_of
from octopus.core.inventory import Task
from octopus.core.policy import Policy
from octopus.core.types import Identity, RequestKind
from octopus.core.unique import Coverage, Standing
from octopus.fleet.capacity_report import CapacityReports, CapacitySample
from octopus.fleet.report import Report, coverages
from octopus.fleet.seen import Seen
from octopus.fleet.simulation import Simulation, read_question
from octopus.fleet.unique_scaler import UniqueScaler
from octopus.fleet.usage import UsageReport, UsageSampler
from octopus.fleet.working import ReportQuestion, reported, simulated

KEPT = 15.0
"""Seconds for which what was worked out of the cluster is shown again."""
FRESH = 120.0
"""Seconds for which a report of the timer is shown."""
MOST_ACTIONS = 100
"""What the daemon did last, as far as it is shown."""
AT_ONCE = 2
"""Simulations at a time; others wait."""
ATTEMPTS = 5
UNCONFIRMED = "Marathon has not confirmed which app it belongs to"
NO_RULE = "no rule of the policy speaks of you and this app"
DENIED = "{rule} denies it"
SHELLS = frozenset({RequestKind.SHELL, RequestKind.EXEC})
FILES = frozenset({RequestKind.DOWNLOAD, RequestKind.UPLOAD})
Found = TypeVar("Found")


class Recent(Generic[Found]):
    """Something that takes a while to work out, worked out once for all who ask within KEPT seconds."""

    def __init__(self, work: Callable[[], Awaitable[Found]], clock: Callable[[], float], kept: float = KEPT) -> None:
        self._work = work
        self._clock = clock
        self._kept = kept
        self._turn = asyncio.Lock()
        self._at = float("-inf")
        self._found: Found | None = None

    async def get(self) -> Found:
        """Return it, at most so old. Raise what the work raises."""
        async with self._turn:
            if self._found is None or self._clock() - self._at > self._kept:
                self._found = await self._work()
                self._at = self._clock()
            return self._found


class TasksHere:
    """The running tasks; ``port`` is where ssh listens."""

    def __init__(self, cluster: Cluster, policy: Policy, port: int) -> None:
        self._cluster = cluster
        self._policy = policy
        self._port = port

    async def page(self, identity: Identity, text: str, cursor: str, limit: int, host: str) -> TasksPage:
        """See ``Tasks``."""
        begin = int(cursor or 0)
        found: list[TaskLine] = []
        for place, task in enumerate(self._fitting(text.casefold())):
            if place >= begin + limit:
                return TasksPage(tasks=tuple(found), next=str(place))
            if place >= begin:
                found.append(self._line(identity, task, host))
        return TasksPage(tasks=tuple(found), next="")

    def _fitting(self, text: str) -> list[Task]:
        tasks = self._cluster.tasks
        return [
            task
            for app in tasks.apps()
            for task in tasks.of_app(app)
            if not text or any(text in part.casefold() for part in (app, task.id, agent_of(self._cluster, task)))
        ]

    def _line(self, identity: Identity, task: Task, host: str) -> TaskLine:
        rule, may = self._policy.rights(identity, task.app, self._cluster.labels(task)) if task.confirmed else ("", frozenset())
        why = "" if may else UNCONFIRMED if not task.confirmed else DENIED if rule else NO_RULE
        who = shlex.quote(f"{identity.login}+{task.id}@{host}")
        port = "" if self._port == 22 else f" -p {self._port}"
        files = shlex.quote(f"{identity.login}+{task.id}@{host}:/tmp/")
        return TaskLine(
            app=task.app,
            task=task.id,
            agent=agent_of(self._cluster, task),
            started=datetime.fromtimestamp(task.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if task.started else "",
            may=tuple(sorted(kind.value for kind in may)),
            rule=rule,
            why=why,
            ssh=f"ssh{port} {who}" if may & SHELLS else "",
            logs=f"ssh{port} -s {who} logs -f" if RequestKind.LOGS in may else "",
            scp=f"scp{port.replace('-p', '-P')} FILE {files}" if may & FILES else "",
        )


class CapacityHere:
    """Figures of the cluster: the latest of those that are worked out on a timer, else new ones from a process of their own."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Callable[[], float],
        reports: CapacityReports,
        usage: UsageSampler | None = None,
        *,
        one_engine: bool = False,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._timed = reports
        self._usage = usage
        self._one_engine = one_engine
        self._reports = Recent(self._report, clock)
        self._simulations = asyncio.Semaphore(AT_ONCE)

    async def report(self) -> Report:
        """See ``Capacity``."""
        self._known()
        latest = self._timed.latest
        if latest is not None and self._clock() - latest.at <= FRESH:
            return latest.report
        return await self._reports.get()

    async def simulate(self, body: bytes) -> Simulation:
        """See ``Capacity``."""
        question = read_question(body)
        self._known()
        async with self._simulations:
            return await simulated(self._cluster, question, sound=self._timed.sound())

    def history(self) -> Sequence[tuple[float, Mapping[str, float]]]:
        """See ``Capacity``."""
        return [(sample.at, _shares(sample)) for sample in self._timed.history.samples()]

    def usage(self) -> UsageReport | None:
        """See ``Capacity``."""
        return self._usage.latest if self._usage is not None else None

    async def _report(self) -> Report:
        return await reported(self._cluster, ReportQuestion(now=self._clock()))

    def _known(self) -> None:
        if self._one_engine:
            raise OrchestratorUnavailable(notice="one engine has no capacity to tell of: that takes a cluster")
        if not self._cluster.ready:
            raise OrchestratorUnavailable


class UniqueHere:
    """UNIQUE apps: as the daemon judged them last, else as the cluster is now. ``mode`` is that of ``[unique]``."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float], mode: str, scaler: UniqueScaler | None) -> None:
        self._cluster = cluster
        self._clock = clock
        self._mode = mode
        self._scaler = scaler
        self._coverages = Recent(self._cover, clock)

    async def page(self, app: str, cursor: str, limit: int) -> UniquePage:
        """See ``Unique``. With an app the cursor is within its hosts."""
        begin, found = int(cursor or 0), await self._known()
        if app:
            found = [one for one in found if one.app == app]
            if not found:
                raise NoSuchTarget(notice=f"'{printable(app)}' is no app with the constraint hostname UNIQUE")
            line, more = _unique(found[0], begin, limit)
            return self._page([line], str(begin + limit) if more else "", app)
        lines = [_unique(one, 0, 0)[0] for one in found[begin : begin + limit]]
        return self._page(lines, str(begin + limit) if begin + limit < len(found) else "", app)

    async def scale(self, app: str, operator: str) -> Scaled:
        """See ``Unique``."""
        if self._scaler is None:
            raise OrchestratorUnavailable(notice="this gateway does not scale apps")
        done = await self._scaler.scale(app, operator)
        return Scaled(app=app, did=done.did.value, instances=done.instances, wanted=done.wanted, why=done.why)

    async def _known(self) -> list[Coverage]:
        if self._scaler is not None and self._scaler.verdicts:
            return [coverage for _, coverage in sorted(self._scaler.verdicts.items())]
        return await self._coverages.get() if self._cluster.ready else []

    def _page(self, lines: Sequence[UniqueApp], following: str, app: str) -> UniquePage:
        done = [] if self._scaler is None else [action for action in reversed(self._scaler.actions) if app in ("", action.app)]
        can_scale = self._scaler is not None and self._mode != "off"
        return UniquePage(apps=tuple(lines), mode=self._mode, can_scale=can_scale, actions=tuple(done[:MOST_ACTIONS]), next=following)

    async def _cover(self) -> list[Coverage]:
        now = self._clock()
        return await asyncio.to_thread(_unchanged, lambda: coverages(Seen(self._cluster), now))


def _shares(sample: CapacitySample) -> dict[str, float]:
    return {name: sample.used.get(name, 0) / total for name, total in sample.total.items() if total}


def _unchanged(work: Callable[[], Found]) -> Found:
    """Return what comes of reading a cluster that feeds may change meanwhile: read again where one did."""
    for _ in range(ATTEMPTS):
        try:
            return work()
        except RuntimeError:
            continue
    raise OrchestratorUnavailable("the cluster changes faster than it can be read")


def _unique(one: Coverage, begin: int, limit: int) -> tuple[UniqueApp, bool]:
    hosts = [host for host in one.hosts if host.standing is not Standing.RUNNING] if limit else []
    return UniqueApp(
        app=one.app,
        instances=one.instances,
        target=one.target,
        running=one.count(Standing.RUNNING),
        missing=one.count(Standing.MISSING),
        blocked=one.count(Standing.BLOCKED),
        new=one.count(Standing.NEW),
        leaving=one.count(Standing.LEAVING),
        misplaced=one.count(Standing.MISPLACED),
        verdict=one.step.verdict.value,
        why=one.step.why,
        hosts=tuple(hosts[begin : begin + limit]),
    ), begin + limit < len(hosts)
