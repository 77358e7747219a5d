"""The UNIQUE daemon: judges every app of one on each host, and has Marathon scale those that lack instances, within its rules.

Only up, only the number of instances, never by force, never into a deployment; by one of several gateways (mesos-marathon.md 5.5).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence

import structlog

from octopus.core.cluster import Cluster
from octopus.core.errors import (
    AccessDenied,
    AppLocked,
    AuditUnavailable,
    InvalidDocument,
    InvalidRequest,
    NoSuchTarget,
    OctopusError,
    printable,
)
from octopus.core.inventory import FeedStatus
from octopus.core.placement_app import App
from octopus.core.ports import AppScaling, AuditLog
from octopus.core.unique import SETTLED_AFTER, Coverage, Standing, Verdict
from octopus.core.unique_actions import Action, Counters, Did, Lead
from octopus.fleet.app_memory import AppMemory, lacking, state_of
from octopus.fleet.judging import Judgement, follows, judge, watched
from octopus.fleet.leadership import Leadership
from octopus.fleet.presence import Presence
from octopus.fleet.seen import cannot_be_judged
from octopus.fleet.unique_failures import FAILURES, KINDS, NOBODYS_FAULT, Changed, NotLeading
from octopus.fleet.unique_record import UniqueRecord

MINUTE = 60.0
ALL_WELL = "each host that can hold an instance has one"

_log = structlog.get_logger(__name__)


class UniqueScaler:
    """The daemon. ``mode`` is ``off``, ``observe`` (judges, and tells what it would do) or ``apply``; ``apps`` are globs.

    ``statuses`` tells how the cluster's feeds do: nothing is done on what is not current. ``clock`` gives seconds since 1970.
    It looks every ``interval`` seconds; hosts count ``settle`` seconds after they registered; at most ``per_minute`` apps are scaled
    in a minute, and each is looked at again ``check_after`` seconds after.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        scaling: AppScaling,
        leadership: Leadership,
        log: AuditLog,
        statuses: Callable[[], Iterable[FeedStatus]],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        mode: str = "observe",
        apps: Sequence[str] = ("/**",),
        interval: float = 30.0,
        settle: float = SETTLED_AFTER,
        per_minute: int = 10,
        check_after: float = 300.0,
    ) -> None:
        self.mode = mode
        self.judgement = Judgement()
        self.lead = Lead(mine=False)
        self._record = UniqueRecord(log, clock=clock, new_id=new_id)
        self._cluster = cluster
        self._scaling = scaling
        self._leadership = leadership
        self._statuses = statuses
        self._clock = clock
        self._follows = follows(apps)
        self._interval = interval
        self._settle = settle
        self._per_minute = per_minute
        self._check_after = check_after
        self._presence = Presence()
        self._memories: dict[str, AppMemory] = {}
        self._writes: deque[float] = deque(maxlen=per_minute)
        self._turn = asyncio.Lock()

    @property
    def verdicts(self) -> dict[str, Coverage]:
        """The latest judgement of each app, by id."""
        return self.judgement.coverages

    @property
    def actions(self) -> deque[Action]:
        """What it did, would do or refused, oldest first; the oldest are forgotten."""
        return self._record.actions

    @property
    def counters(self) -> Counters:
        """How often, since the start."""
        return self._record.counters

    async def run(self) -> None:
        """Look at the cluster again and again, for ever. Nothing that is behind us ends this, nor does a bug here: sessions go on."""
        while self.mode != "off":
            try:
                await self.look()
            except OctopusError as error:
                _log.warning("the UNIQUE daemon could not do its round", error=str(error))
            except Exception as error:
                _log.error("bug in the UNIQUE daemon", exc_info=error)
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """Judge every app once, and do, or tell, what is to be done. Raise AuditUnavailable."""
        async with self._turn:
            await self._judge()
            self.lead = await self._leadership.lead() if self.mode == "apply" else Lead(mine=False)
            for app_id, found in self.verdicts.items():
                if self.mode == "observe" or self.lead.mine:
                    await self._consider(self.judgement.apps[app_id], found)

    async def scale(self, app: str, operator: str) -> Action:
        """Scale one app now because a person asks, by the same rules; what became of it is also on the trail.

        What failed before, and who took our number back, is forgotten: the person knows better. Raise NoSuchTarget, InvalidRequest
        (it is no app of one on each host), AccessDenied (mode ``off``), AuditUnavailable.
        """
        if self.mode == "off":
            raise AccessDenied("[unique] mode is off", notice="[unique] mode is off: nothing is scaled")
        async with self._turn:
            await self._judge()
            found = self._asked_for(app)
            self._memories[app] = AppMemory()
            self.lead = await self._leadership.lead()
            try:
                return await self._decide(self.judgement.apps[app], found, operator)
            finally:
                if self.mode != "apply":
                    await self._leadership.resign()
                    self.lead = Lead(mine=False)

    def _asked_for(self, app: str) -> Coverage:
        if app in self.verdicts:
            return self.verdicts[app]
        if why := self._cluster.marathon.unread.get(app):
            raise InvalidDocument([(app, cannot_be_judged(why))])
        if app not in self._cluster.marathon.apps:
            raise NoSuchTarget(notice=f"Marathon has no app '{printable(app)}'")
        raise InvalidRequest(notice=f"{printable(app)} {_NOT_FOLLOWED}")

    async def _judge(self) -> None:
        now = self._clock()
        working = all(not status.error and status.since for status in self._statuses())
        at = await watched(self._cluster, complete=working)
        if at.complete:
            self._presence.watch((agent.hostname for agent in at.agents.values()), now)
        unsettled = self._presence.unsettled({agent.id: agent.hostname for agent in at.agents.values()}, now)
        self.judgement = await asyncio.to_thread(judge, at, now, self._follows, unsettled=unsettled, settled_after=self._settle)
        self._record.looked()
        if at.complete:
            self._memories = {app: memory for app, memory in self._memories.items() if app in self.verdicts}

    async def _consider(self, app: App, found: Coverage) -> None:
        """Do, or tell, what is to be done about one app; what was told before is not told again."""
        memory = self._memories.setdefault(app.id, AppMemory())
        if memory.awaits(app, self._clock()):
            return
        if memory.taken_back(app):
            self._record.failed("reverted")
        if memory.check_due(self._clock(), self._check_after):
            await self._check(app, found, memory)
        await self._decide(app, found)

    async def _decide(self, app: App, found: Coverage, operator: str = "") -> Action:
        memory, step = self._memories.setdefault(app.id, AppMemory()), found.step
        if step.verdict is not Verdict.SCALE:
            return await self._nothing(found, memory, operator)
        if why := memory.given_up():
            return await self._refuse(found, memory, why, operator, key="given up")
        if why := memory.pause(state_of(app, found), self._clock()) or self._too_fast():
            # Of a daemon's own pauses nothing is told: what they come from was.
            refused = self._record.action(found, Did.REFUSED, why, operator=operator)
            return await self._tell(refused, memory, key=None) if operator else refused
        if self.mode != "apply" and not operator:
            return await self._tell(self._record.action(found, Did.WOULD_SCALE, step.why), memory, key=(Did.WOULD_SCALE, step.instances))
        return await self._scale(app, found, memory, operator)

    async def _nothing(self, found: Coverage, memory: AppMemory, operator: str) -> Action:
        """Tell why nothing is scaled where something is lacking; where nothing is, only a person who asks is told."""
        step, waits = found.step, found.step.verdict is Verdict.WAIT
        stuck = waits and self.judgement.complete and step.wanted < found.instances
        hangs = memory.hangs(self._clock(), self._check_after, stuck=stuck)
        blocked = lacking(found) if found.instances and (hangs or not waits) else ()
        why = step.why if hangs or step.verdict is Verdict.REPORT or (waits and step.wanted > step.instances) else ""
        if not why and blocked:
            first = "; ".join(f"{host}: {sentence}" for host, _, sentence in blocked[:5])
            why = first if len(blocked) == 1 else f"{len(blocked)} hosts take none: {first}"
        if why or operator:
            key = (step.verdict, found.instances, hash(tuple((host, reason) for host, reason, _ in blocked)))
            return await self._refuse(found, memory, why or step.why or ALL_WELL, operator, key=key, hosts=[host for host, _, _ in blocked])
        if step.verdict is not Verdict.WAIT:
            memory.told = None
        return self._record.action(found, Did.REFUSED, step.why or ALL_WELL)

    def _too_fast(self) -> str:
        full = len(self._writes) == self._per_minute
        return "as many apps as may be were scaled in the last minute" if full and abs(self._clock() - self._writes[0]) < MINUTE else ""

    async def _scale(self, app: App, found: Coverage, memory: AppMemory, operator: str) -> Action:
        """Look once more, put the intent on the trail, write, and put the outcome on the trail."""
        step, now, record = found.step, self._clock(), self._record
        try:
            await self._read_again(app)
            await record.audit("unique.requested", record.action(found, Did.SCALED, step.why, operator=operator))
            await self._lead_still()
            self._writes.append(now)
            written = await self._scaling.scale(app.id, step.instances, self._cluster.marathon.rules)
        except AuditUnavailable:
            record.failed("audit")
            raise
        except FAILURES as error:
            kind = KINDS.get(type(error), "unavailable")
            record.failed(kind)
            if kind not in NOBODYS_FAULT:
                memory.failed(now, final=state_of(app, found) if kind == "invalid" else None)
            return await self._refuse(found, memory, error.notice, operator, key=(kind, error.notice))
        except Exception:
            memory.failed(now)  # a bug: not at each look again
            raise
        memory.scaled(step.instances, written.version, self._clock())
        memory.told = None
        action = record.action(found, Did.SCALED, step.why, operator=operator, deployment=written.deployment)
        record.keep(action)
        await record.audit("unique.scaled", action)
        return action

    async def _read_again(self, app: App) -> None:
        """Look at the app as it is now. Raise AppLocked, Changed when it is not what was judged any more."""
        fresh = await self._scaling.read(app.id, self._cluster.marathon.rules)
        if fresh.deploying:
            raise AppLocked(f"{app.id}: a deployment is under way")
        if (fresh.version, fresh.instances) != (app.version, app.instances) or not self._follows(fresh):
            raise Changed(notice="it was changed since it was looked at")

    async def _lead_still(self) -> None:
        self.lead = await self._leadership.lead()
        if not self.lead.mine:
            who = self.lead.problem or (f"{self.lead.who} does" if self.lead.who else "another one does")
            raise NotLeading(notice=f"this gateway does not lead: {printable(who)}")

    async def _check(self, app: App, found: Coverage, memory: AppMemory) -> None:
        """See whether the instances asked for run by now; where they do not, the same is not tried again until something changes."""
        running = sum(found.count(standing) for standing in (Standing.RUNNING, Standing.LEAVING, Standing.MISPLACED))
        if running >= memory.wrote:
            return
        try:
            waiting = await self._scaling.waiting(app.id)
        except FAILURES as error:
            waiting = error.notice
        self._record.failed("unplaced")
        memory.futile = state_of(app, found)
        why = f"{memory.wrote} were to run, {running} do after {round(self._check_after)} s"
        await self._refuse(found, memory, f"{why}: {waiting}" if waiting else why, "", key=("unplaced", memory.wrote))

    async def _refuse(
        self, found: Coverage, memory: AppMemory, why: str, operator: str, *, key: Hashable, hosts: Sequence[str] | None = None
    ) -> Action:
        return await self._tell(self._record.action(found, Did.REFUSED, why, operator=operator, hosts=hosts), memory, key=key)

    async def _tell(self, action: Action, memory: AppMemory, *, key: Hashable) -> Action:
        """Put an action on record; what the daemon finds again at the next look is not told again."""
        if not action.operator and memory.told == key:
            return action
        if action.operator or self.mode == "apply":
            await self._record.audit("unique.refused", action)
        self._record.keep(action)
        memory.told = None if action.operator else key
        return action


_NOT_FOLLOWED = "is not among [unique] apps, has no constraint of one on each host, or its label OCTOPUS_UNIQUE says off"
