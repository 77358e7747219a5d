"""What monitoring is told: the names, the units, and nothing while nothing sure is known."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from octopus.control.tallies import Tallies
from octopus.core.errors import OrchestratorUnavailable
from octopus.core.inventory import FeedStatus
from octopus.core.types import AuditEvent
from octopus.core.unique_actions import FAILURES, Counters, Did, Lead
from octopus.fleet.capacity_report import CapacityHistory, CapacityReports, TimedReport
from octopus.fleet.figures import Family, capacity_families, labelled, single
from octopus.fleet.following_figures import event_families, unique_families
from octopus.fleet.gateway import GatewayFigures, gateway_families, state_families
from octopus.fleet.history import EventHistory
from octopus.fleet.metrics import FigureCollector, Source
from octopus.fleet.report import Report, coverages, report, unique_lines
from octopus.fleet.seen import Seen
from octopus.fleet.statsd import Deltas, element
from octopus.fleet.working import ReportQuestion
from tests.unit.test_forecast import cluster

Told = dict[str, float]


def scraped(*sources: Source) -> Told:
    """Return what Prometheus reads: each sample with its labels, as in a query."""
    registry = CollectorRegistry()
    registry.register(FigureCollector(sources))
    found: Told = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def whole(**options: object) -> Report:
    """Return the report of two agents of four CPUs, of which two are used; two are reserved for others on each."""
    seen = Seen(cluster(reserved=2))
    found = msgspec.structs.replace(report(seen, named=["/a"]), unique=unique_lines(coverages(seen, 1e9)))
    return msgspec.structs.replace(found, **options)


def test_capacity_has_the_names_it_was_promised() -> None:
    """CPUs are CPUs, memory is MB, ports are counted, what is out of reach has its reason."""
    told = scraped(lambda: capacity_families(whole()))
    assert told['octopus_cluster_total{resource="cpus",role="*"}'] == 8
    assert told['octopus_cluster_used{resource="cpus",role="*"}'] == 2
    assert told['octopus_cluster_free{resource="cpus",role="*"}'] == 2
    assert told['octopus_cluster_total{resource="mem",role="*"}'] == 8192
    assert told['octopus_cluster_unavailable{reason="reserved for other roles",resource="cpus",role="*"}'] == 4
    assert told['octopus_headroom_instances{app="median"}'] == told['octopus_headroom_instances{app="/a"}'] == 2
    assert told['octopus_headroom_ideal_instances{app="median"}'] == 2
    assert told['octopus_fragmentation_loss_ratio{app="largest"}'] == 0
    assert told['octopus_hosts{state="offered"}'] + told['octopus_hosts{state="reserved"}'] == 2
    assert told["octopus_hostloss_unplaced_max"] == 0
    names = {name.partition("{")[0] for name in told}
    assert names >= {f"octopus_{name}" for name in ("cluster_offered", "unusable_ratio", "stranded", "largest_free", "inflation_ratio")}


def test_nothing_is_told_of_what_is_not_known() -> None:
    """No "what if" in a cluster too large for it, no UNIQUE app, no zero in their stead."""
    told = scraped(lambda: capacity_families(whole(what_if=None, unusable={}, unique=())))
    assert not [name for name in told if name.startswith(("octopus_hostloss", "octopus_unusable", "octopus_unique", "octopus_inflation"))]


class Ground:
    """Reports over a state that can be made incomplete, with a clock of its own."""

    def __init__(self) -> None:
        self.now, self.sound, self.answer = 1000.0, True, whole()
        self.fails = False
        self.reports = CapacityReports(
            self.work, sound=lambda: self.sound, clock=lambda: self.now, ready=self.at_once, interval=60.0, named=["/a"]
        )

    async def at_once(self) -> None:
        """Be ready."""

    async def work(self, question: ReportQuestion) -> Report:
        """Answer."""
        assert question == ReportQuestion(now=self.now, named=("/a",))
        if self.fails:
            raise OrchestratorUnavailable
        return self.answer

    def told(self) -> Told:
        """Return what is scraped now."""
        return scraped(self.reports.families)


async def test_a_failover_takes_the_figures_away() -> None:
    """At once, also those of a report from before it; they come back with the first whole report."""
    ground = Ground()
    assert ground.told() == {}
    await ground.reports.renew()
    assert "octopus_hostloss_unplaced_max" in ground.told()
    ground.sound = False
    assert set(ground.told()) == {"octopus_capacity_age_seconds", "octopus_capacity_seconds"}
    await ground.reports.renew()
    ground.sound = True
    assert "octopus_hostloss_unplaced_max" not in ground.told()
    await ground.reports.renew()
    assert "octopus_hostloss_unplaced_max" in ground.told()
    ground.answer = whole(complete=False)
    await ground.reports.renew()
    assert "octopus_hostloss_unplaced_max" not in ground.told()


async def test_figures_age_while_none_can_be_worked_out() -> None:
    """Their age is told; in the end they are not."""
    ground = Ground()
    await ground.reports.renew()
    ground.fails, ground.now = True, 1090.0
    await ground.reports.renew()
    assert ground.told()["octopus_capacity_age_seconds"] == 90
    assert "octopus_hostloss_unplaced_max" in ground.told()
    ground.now = 2000.0
    assert "octopus_hostloss_unplaced_max" not in ground.told()


async def test_reports_come_by_themselves() -> None:
    """Until the task is cancelled."""
    ground = Ground()
    running = asyncio.create_task(ground.reports.run())
    async with asyncio.timeout(30):
        while ground.reports.latest is None:  # noqa: ASYNC110  (what it waits for is what is tested)
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert ground.reports.history.samples()[0].free["cpus"] == 2000


def test_the_last_day_is_kept() -> None:
    """One sample a minute, only of complete states, the oldest goes."""
    history, found = CapacityHistory(size=3), whole()
    for at, sound in [(0, True), (10, True), (60, True), (119, True), (180, False), (181, True), (240, True)]:
        history.note(TimedReport(at=at, took=0.0, sound=sound, report=found))
    assert [sample.at for sample in history.samples()] == [119, 181, 240]
    assert (history.samples()[0].headroom["median"], history.samples()[0].agents) == (2, 2)


def test_the_state_says_how_good_it_is() -> None:
    """Its age is that of the oldest source; where one was never read there is none."""
    fresh, old = FeedStatus(name="mesos", age=3.0), FeedStatus(name="marathon", age=9.0, error="down")
    told = scraped(lambda: state_families([fresh, old], complete=False))
    assert (told["octopus_state_complete"], told["octopus_state_age_seconds"]) == (0, 9)
    assert told['octopus_feed_works{feed="marathon"}'] == 0
    assert told['octopus_feed_age_seconds{feed="mesos"}'] == 3
    never = scraped(lambda: state_families([fresh, FeedStatus(name="marathon")], complete=False))
    assert "octopus_state_age_seconds" not in never


def event(name: str, **data: object) -> AuditEvent:
    """Return an event of a session."""
    return AuditEvent(event=name, key=name, session="s-1" if name.startswith("session") else "", data=data)


def test_the_trail_is_counted() -> None:
    """Logins by result and method, sessions by end, bytes of those that are over; what is no number counts nothing."""
    tallies = Tallies()
    tallies.note(event("auth.accepted", method="publickey"))
    tallies.note(event("auth.refused", method="password"))
    tallies.note(event("auth.refused", method="\x1b"))
    tallies.note(event("session.started"))
    tallies.note(event("session.ended", bytes_in=3, bytes_out=40))
    tallies.note(event("session.failed", bytes_in="x", bytes_out=2))
    figures = GatewayFigures(
        live=2, events=tallies.events, logins=tallies.logins, bytes_in=tallies.bytes_in, bytes_out=tallies.bytes_out, workers=4
    )
    told = scraped(lambda: gateway_families(figures))
    assert (told["octopus_sessions_live"], told["octopus_workers"], told["octopus_audit_writable"]) == (2, 4, 1)
    assert [told[f'octopus_sessions_total{{end="{end}"}}'] for end in ("ended", "failed", "denied")] == [1, 1, 0]
    assert told['octopus_logins_total{method="publickey",result="accepted"}'] == 1
    assert told['octopus_logins_total{method="other",result="refused"}'] == 1
    assert (told['octopus_session_bytes_total{direction="in"}'], told['octopus_session_bytes_total{direction="out"}']) == (3, 42)
    assert (told["octopus_audit_lines_total"], told['octopus_audit_events_total{event="session.started"}']) == (6, 1)


def test_statsd_has_dots_and_gets_what_is_new() -> None:
    """Gauges as they are, counters by what came since; one that began anew counts from nothing."""
    deltas = Deltas()

    def lines(*families: Family) -> list[tuple[str, float, bool]]:
        return list(deltas.lines(families))

    free = Family(name="cluster_free", help="", labels=("resource", "role"), samples=((("cpus", "*"), 2.5),))
    assert lines(free) == lines(free) == [("cluster.free.cpus.unreserved", 2.5, False)]
    assert lines(single("audit_lines_total", 5, "", counter=True)) == [("audit.lines", 5, True)]
    assert lines(single("audit_lines_total", 5, "", counter=True)) == []
    assert lines(single("audit_lines_total", 7, "", counter=True)) == [("audit.lines", 2, True)]
    assert lines(single("audit_lines_total", 1, "", counter=True)) == [("audit.lines", 1, True)]
    assert lines(labelled("headroom_instances", "app", {"/web/front": 3.0}, "")) == [("headroom.instances.web_front", 3, False)]


@pytest.mark.parametrize(("value", "name"), [("/a/b.c", "a_b_c"), ("*", "unreserved"), ("", "none"), ("///", "none"), ("x:1|c\n", "x_1_c")])
def test_a_label_cannot_become_another_line(value: str, name: str) -> None:
    """Dots, colons, bars and newlines mean something to StatsD."""
    assert element(value) == name


def test_actions_are_spelt_alike() -> None:
    """For programs each is one word, in JSON as in the figures."""
    assert [did for did in Did if not did.value.replace("_", "").isalpha()] == []


def test_the_daemon_and_marathons_events_are_told() -> None:
    """By action and kind, by event and state; nothing happened, nothing but zeros."""
    counters = Counters(looks=7, scaled=2, would_scale=1, refused=3, failures={"not leading": 4})
    history = EventHistory(lambda: 1.0)
    history.hear("status_update_event", b'{"taskStatus":"TASK_FAILED"}')
    told = scraped(lambda: unique_families(counters, Lead(mine=True)), lambda: event_families(history))
    assert told == {
        "octopus_unique_looks_total": 7,
        'octopus_unique_actions_total{action="scaled"}': 2,
        'octopus_unique_actions_total{action="would_scale"}': 1,
        'octopus_unique_actions_total{action="refused"}': 3,
        **{f'octopus_unique_failures_total{{kind="{kind.replace(" ", "_")}"}}': 0 for kind in FAILURES},
        'octopus_unique_failures_total{kind="not_leading"}': 4,
        "octopus_unique_leading": 1,
        'octopus_marathon_events_total{event="status_update_event"}': 1,
        'octopus_marathon_task_failures_total{state="TASK_FAILED"}': 1,
    }
    assert scraped(lambda: event_families(EventHistory(lambda: 1.0))) == {}
