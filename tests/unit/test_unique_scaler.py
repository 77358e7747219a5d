"""The UNIQUE daemon's rules: what it does, what it does not, and that each is told once (mesos-marathon.md 5.5)."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec
import pytest

from octopus.core.errors import (
    AccessDenied,
    AuditUnavailable,
    BadUpstream,
    InvalidRequest,
    NoSuchTarget,
    OctopusError,
    OrchestratorUnavailable,
)
from octopus.core.inventory import Snapshot, Task
from octopus.core.placement_operators import Constraint
from octopus.core.resources import Amounts
from octopus.core.unique_actions import Did, Lead
from octopus.fleet.judging import SLICE, watched
from octopus.fleet.presence import Presence
from tests.parts.fleet import NOW, STATSD, FakeLeadership, Town, agent

APP = "/ops/statsd"
A, B, C = agent("a"), agent("b"), agent("c")
MORE = "1 more would find a host"


async def test_an_agent_that_joins_is_followed_once() -> None:
    """Two run, a third host would take one: the number is written once, with the intent and the outcome on the trail."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    await town.look()
    assert town.scaling.written == [(APP, 3)]
    assert town.trail.told() == [("unique.requested", MORE), ("unique.scaled", MORE)]
    assert town.trail.events[1].data == {"instances": 2, "wanted": 3, "why": MORE, "hosts": ["c"], "deployment": "d-1"}
    assert town.trail.events[1].target == {"app": APP}
    await town.look()
    town.deployed(APP, "a", "b", "c")
    await town.look()
    assert town.scaling.written == [(APP, 3)]
    assert len(town.trail.events) == 2
    assert (town.scaler.counters.scaled, town.scaler.counters.looks, town.scaler.counters.refused) == (1, 3, 0)
    [action] = town.scaler.actions
    assert (action.did, action.app, action.deployment) == (Did.SCALED, APP, "d-1")
    assert NOW <= datetime.fromisoformat(action.time).timestamp() <= town.now  # RFC 3339, as every time that programs are told


async def test_observing_tells_what_it_would_do_and_does_nothing() -> None:
    """Once, in the history and the counters; the trail is of what is done."""
    town = Town(A, B, C, mode="observe")
    town.run_on(APP, "a", "b")
    for _ in range(3):
        await town.look()
    assert (town.scaling.written, town.trail.events) == ([], [])
    [action] = town.scaler.actions
    assert (action.did, action.instances, action.wanted, action.why, action.hosts) == (Did.WOULD_SCALE, 2, 3, MORE, ("c",))
    assert town.scaler.counters.would_scale == 1
    assert town.scaler.verdicts[APP].target == 3


async def test_switched_off_it_looks_at_nothing() -> None:
    """Its loop ends, and a person who asks is told."""
    town = Town(A, B, C, mode="off")
    town.read()
    async with asyncio.timeout(30):
        await town.scaler.run()
    with pytest.raises(AccessDenied, match="off"):
        await town.scaler.scale(APP, "root")
    assert (town.scaling.written, town.scaler.counters.looks) == ([], 0)


async def test_a_host_that_takes_none_is_reported_once_with_the_reason() -> None:
    """On the trail and in the history; again only when the reason is another."""
    town = Town(A, B, agent("c", 0.5))
    town.run_on(APP, "a", "b")
    for _ in range(3):
        await town.look()
    assert town.trail.told() == [("unique.refused", "c: needs 1 cpus, 0.5 free")]
    assert town.trail.events[0].data["hosts"] == ["c"]
    town.agents["d"] = agent("d", drain="DRAINING")
    await town.look()
    await town.look()
    assert town.trail.told()[1:] == [("unique.refused", "2 hosts take none: c: needs 1 cpus, 0.5 free; d: draining")]
    assert (town.scaling.written, town.scaler.counters.refused) == ([], 2)


async def test_more_wanted_than_can_run_is_a_finding() -> None:
    """Somebody asked for four; it is told, and left to them."""
    town = Town(A, B, apps=(msgspec.structs.replace(STATSD, instances=4),))
    town.run_on(APP, "a", "b")
    await town.look()
    await town.look()
    assert town.trail.told() == [("unique.refused", "wants 4, 2 can run")]
    assert town.scaling.written == []


async def test_a_stopped_app_is_left_alone() -> None:
    """Its owner set it to 0: neither scaled nor spoken of."""
    town = Town(A, agent("b", 0.5), apps=(msgspec.structs.replace(STATSD, instances=0),))
    await town.look()
    assert (town.scaling.written, town.trail.events, list(town.scaler.actions)) == ([], [], [])


async def test_nothing_is_done_into_a_deployment() -> None:
    """Told once that something is lacking; done when the deployment is over."""
    town = Town(A, B, C, apps=(msgspec.structs.replace(STATSD, deploying=True),))
    town.run_on(APP, "a", "b")
    await town.look()
    await town.look()
    assert (town.scaling.written, town.trail.told()) == ([], [("unique.refused", "a deployment is under way")])
    town.deployed(APP, "a", "b")
    await town.look()
    assert town.scaling.written == [(APP, 3)]


async def test_a_deployment_alone_is_nothing_to_tell() -> None:
    """Where nothing is lacking, one that is under way is everyday life."""
    town = Town(A, B, apps=(msgspec.structs.replace(STATSD, deploying=True),))
    town.run_on(APP, "a", "b")
    await town.look()
    assert town.trail.events == []


async def test_a_deployment_that_cannot_end_is_a_finding() -> None:
    """Somebody asked for nine: told once it has hung for as long as instances may take to start, and left to them."""
    town = Town(A, B, agent("c", 0.5), apps=(msgspec.structs.replace(STATSD, instances=9, deploying=True),))
    town.run_on(APP, "a", "b")
    for _ in range(3):
        await town.look(after=100)
    assert town.trail.events == []
    for _ in range(3):
        await town.look(after=100)
    assert town.trail.told() == [("unique.refused", "a deployment is under way: it wants 9, 2 can run")]
    assert town.trail.events[0].data["hosts"] == ["c"]
    assert town.scaling.written == []


async def test_nothing_is_done_in_a_failover() -> None:
    """Agents are waited for: what they hold is not known to be gone, and nothing is scaled until the state is whole."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    town.recovered = ["b-S"]
    await town.look()
    assert (town.scaling.written, town.trail.told()) == ([], [("unique.refused", "the state of the cluster is not complete")])
    town.recovered = []
    await town.look()
    assert town.scaling.written == [(APP, 3)]


@pytest.mark.parametrize("fields", [{"error": "no master leads"}, {"since": 0.0}])
async def test_nothing_is_done_on_what_is_not_current(fields: dict[str, object]) -> None:
    """A feed that fails, or has never been read."""
    town = Town(A, B, C)
    town.status = msgspec.structs.replace(town.status, **fields)
    town.run_on(APP, "a", "b")
    await town.look()
    assert (town.scaling.written, town.scaler.judgement.complete) == ([], False)


async def test_an_agent_that_leaves_changes_nothing() -> None:
    """However long it stays away: never down."""
    town = Town(A, B, C, apps=(msgspec.structs.replace(STATSD, instances=3),))
    town.run_on(APP, "a", "b", "c")
    await town.look()
    del town.agents["c"]
    town.run_on(APP, "a", "b")
    for _ in range(3):
        await town.look(after=3600)
    assert town.scaling.written == []
    assert town.trail.told() == [("unique.refused", "wants 3, 2 can run")]


async def test_a_new_agent_settles_first() -> None:
    """The configured time after it registered; nothing is said until then."""
    town = Town(A, B, settle=60.0)
    town.agents["c"] = agent("c", registered=town.now - 30)
    town.run_on(APP, "a", "b")
    await town.look()
    assert (town.scaling.written, town.trail.events) == ([], [])
    await town.look(after=31)
    assert town.scaling.written == [(APP, 3)]


async def test_an_agent_that_comes_and_goes_is_not_followed_until_it_is_quiet() -> None:
    """Twice back within ten minutes: not relied on for ten."""
    town = Town(A, B)
    town.run_on(APP, "a", "b")
    await town.look()
    for _ in range(2):
        town.agents["c"] = agent("c", 0.1)
        await town.look(after=10)
        del town.agents["c"]
        await town.look(after=10)
    town.agents["c"] = C
    await town.look(after=10)
    assert town.scaling.written == []
    assert town.scaler.verdicts[APP].hosts[2].why == "it came back 2 times within 10 min"
    await town.look(after=601)
    assert town.scaling.written == [(APP, 3)]


async def test_who_does_not_lead_judges_and_does_nothing() -> None:
    """Nor does it fill the trail with what the leader tells."""
    town = Town(A, B, agent("c", 0.5))
    town.leadership.told = FakeLeadership(mine=False, who="gw-2").told
    town.run_on(APP, "a", "b")
    await town.look()
    assert (town.trail.events, town.scaler.verdicts[APP].target, town.scaler.lead.who) == ([], 2, "gw-2")


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        (Lead(mine=False, who="gw-2"), "this gateway does not lead: gw-2 does"),
        (Lead(mine=False, problem="ZooKeeper does not answer"), "this gateway does not lead: ZooKeeper does not answer"),
        (Lead(mine=False), "this gateway does not lead: another one does"),
    ],
)
async def test_a_lock_lost_in_the_middle_of_scaling_writes_nothing(lost: Lead, why: str) -> None:
    """After the intent is on the trail and before Marathon is written to: the trail says so, and nothing waits once it leads again."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.leadership.left, town.leadership.lost = 1, lost
    await town.look()
    assert (town.scaling.written, [name for name, _ in town.trail.told()]) == ([], ["unique.requested", "unique.refused"])
    assert town.trail.told()[-1][1] == why
    assert (town.scaler.lead, town.scaler.counters.failures) == (lost, {"not leading": 1})
    town.leadership.left = None
    await town.look()
    assert town.scaling.written == [(APP, 3)]


@pytest.mark.parametrize(
    ("change", "why", "kind"),
    [
        ({"instances": 5}, "it was changed since it was looked at", "changed"),
        ({"deploying": True}, "a deployment of the app is under way, try again later", "locked"),
        ({"constraints": ()}, "it was changed since it was looked at", "changed"),
    ],
)
async def test_an_app_that_changed_meanwhile_is_not_written(change: dict[str, object], why: str, kind: str) -> None:
    """Between the look and the write it is read once more."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    town.scaling.change(APP, **change)
    await town.look(read=False)
    assert (town.scaling.written, town.trail.told()) == ([], [("unique.refused", why)])
    assert town.scaler.counters.failures == {kind: 1}


async def test_an_app_deleted_meanwhile_is_not_made_anew() -> None:
    """It is gone; what was remembered of it goes too."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    del town.scaling.apps[APP]
    await town.look(read=False)
    assert (town.scaling.written, town.scaler.counters.failures) == ([], {"gone": 1})
    await town.look()
    assert town.scaler.verdicts == {}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OrchestratorUnavailable("HTTP 503"), "unavailable"),
        (BadUpstream("http://m", "not JSON", b"<html>"), "unavailable"),
        (AccessDenied("HTTP 403"), "denied"),
    ],
)
async def test_after_a_failure_it_waits_longer_each_time(error: OctopusError, kind: str) -> None:
    """30 s, 60 s, … up to 10 min; told once."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.scaling.fails = error
    tries = []
    for at in range(0, 600, 10):
        before = len(town.trail.events)
        await town.look(after=10)
        if any(event.event == "unique.requested" for event in town.trail.events[before:]):
            tries.append(at)
    assert tries == [0, 30, 90, 210, 450]
    assert town.scaler.counters.failures == {kind: 5}
    refused = [why for event, why in town.trail.told() if event == "unique.refused"]
    assert len(refused) == 1
    town.scaling.fails = None
    await town.look(after=600)
    assert town.scaling.written == [(APP, 3)]


async def test_what_marathon_does_not_take_is_not_tried_again_until_something_changes() -> None:
    """422: the same would get the same answer."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.scaling.fails = InvalidRequest(notice="Marathon does not take it: HTTP 422")
    await town.look()
    for _ in range(5):
        await town.look(after=3600)
    assert [event for event, _ in town.trail.told()] == ["unique.requested", "unique.refused"]
    town.scaling.fails = None
    town.scaling.change(APP)
    await town.look()
    assert town.scaling.written == [(APP, 3)]


async def test_what_was_written_is_not_written_again_before_it_is_read_back() -> None:
    """The feed is behind: nothing is said of what is older than our own write."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    await town.look()
    before = len(town.trail.events)
    for _ in range(3):
        await town.look(read=False, after=10)
    assert (town.scaling.written, len(town.trail.events)) == ([(APP, 3)], before)


async def test_whoever_takes_our_number_back_twice_is_left_to_it() -> None:
    """Another scaler, or the owner by hand: after the second time it is told and nothing more is written."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    for _ in range(6):
        await town.look(after=60)
        town.deployed(APP, "a", "b")
        town.scaling.change(APP, instances=2)
    assert town.scaling.written == [(APP, 3), (APP, 3)]
    assert town.scaler.counters.failures == {"reverted": 2}
    why = "somebody else sets its number of instances: ours was taken back 2 times"
    assert town.trail.told()[-1] == ("unique.refused", why)
    town.read()
    assert (await town.scaler.scale(APP, "alice")).did is Did.SCALED


async def test_only_so_many_apps_are_scaled_in_a_minute() -> None:
    """The others wait for their turn."""
    apps = tuple(msgspec.structs.replace(STATSD, id=f"/ops/app-{number}") for number in range(5))
    town = Town(A, B, C, apps=apps, per_minute=2)
    for app in apps:
        town.run_on(app.id, "a", "b")
    await town.look()
    assert [app for app, _ in town.scaling.written] == ["/ops/app-0", "/ops/app-1"]
    await town.look(after=30)
    assert len(town.scaling.written) == 2
    await town.look(after=31)
    assert len(town.scaling.written) == 4
    assert {event for event, _ in town.trail.told()} == {"unique.requested", "unique.scaled"}
    refused = await town.scaler.scale("/ops/app-4", "alice")
    assert (refused.did, refused.why) == (Did.REFUSED, "as many apps as may be were scaled in the last minute")
    assert town.trail.told()[-1] == ("unique.refused", refused.why)


async def test_instances_that_find_no_place_are_told_and_not_asked_for_again() -> None:
    """Five minutes after the write; with what Marathon's queue says; the same is tried again once the hosts stand differently."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    await town.look()
    town.deployed(APP, "a", "b")
    town.scaling.reasons[APP] = "3 offers declined: InsufficientPorts"
    await town.look(after=299)
    assert town.scaler.counters.failures == {}
    await town.look(after=2)
    await town.look(after=60)
    assert town.trail.told()[2:] == [("unique.refused", "3 were to run, 2 do after 300 s: 3 offers declined: InsufficientPorts")]
    assert town.scaler.counters.failures == {"unplaced": 1}
    town.scaling.change(APP, instances=2)
    await town.look(after=60)
    assert town.scaler.counters.failures == {"unplaced": 1, "reverted": 1}


async def test_what_runs_after_all_is_nothing_to_tell() -> None:
    """The check is silent where all is well, and where Marathon cannot be asked its failure is told in its place."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    await town.look()
    town.deployed(APP, "a", "b", "c")
    await town.look(after=301)
    assert town.scaler.counters.failures == {}


async def test_without_a_trail_nothing_is_written() -> None:
    """The intent comes first: no record, no write; the daemon goes on and tries again."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.trail.full = True
    with pytest.raises(AuditUnavailable):
        await town.look()
    assert (town.scaling.written, town.scaler.counters.failures) == ([], {"audit": 1})
    town.trail.full = False
    await town.look()
    assert town.scaling.written == [(APP, 3)]


async def test_the_loop_outlives_what_fails() -> None:
    """A trail that is full for a while ends no daemon."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    town.trail.full = True
    running = asyncio.create_task(town.scaler.run())
    async with asyncio.timeout(30):
        for _ in range(2):
            await town.trail.refused.get()
        town.trail.full = False
        assert await town.scaling.writes.get() == APP
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_exempt_and_other_apps_are_not_followed() -> None:
    """By label, by [unique] apps, and whatever is not one on each host."""
    apps = (
        msgspec.structs.replace(STATSD, labels={"OCTOPUS_UNIQUE": "off"}),
        msgspec.structs.replace(STATSD, id="/web/one"),
        msgspec.structs.replace(STATSD, id="/ops/other", constraints=(Constraint("rack", "UNIQUE"),)),
        msgspec.structs.replace(STATSD, id="/ops/yes"),
    )
    for globs, followed in ((("/**",), {"/web/one", "/ops/yes"}), (("/ops/**", "/logging/*"), {"/ops/yes"})):
        town = Town(A, B, C, apps=apps, globs=globs)
        await town.look()
        assert set(town.scaler.verdicts) == followed


@pytest.mark.parametrize("mode", ["observe", "apply"])
async def test_a_person_asks(mode: str) -> None:
    """Also where it only observes: by the same rules, with who asked on the trail; the lock is kept by a daemon only."""
    town = Town(A, B, C, mode=mode)
    town.run_on(APP, "a", "b")
    town.read()
    action = await town.scaler.scale(APP, "alice")
    assert (action.did, action.operator, action.wanted) == (Did.SCALED, "alice", 3)
    assert [event.data["operator"] for event in town.trail.events] == ["alice", "alice"]
    assert town.leadership.resigned == (1 if mode == "observe" else 0)
    town.deployed(APP, "a", "b", "c")
    town.read()
    again = await town.scaler.scale(APP, "alice")
    assert (again.did, again.why) == (Did.REFUSED, "each host that can hold an instance has one")
    assert town.trail.told()[-1] == ("unique.refused", again.why)
    assert town.scaling.written == [(APP, 3)]


async def test_a_person_asks_in_vain() -> None:
    """For no app, for one that is not followed, and of a gateway that does not lead."""
    town = Town(A, B, C, apps=(STATSD, msgspec.structs.replace(STATSD, id="/web", constraints=())))
    town.run_on(APP, "a", "b")
    town.read()
    with pytest.raises(NoSuchTarget, match="no app '/nope'"):
        await town.scaler.scale("/nope", "alice")
    with pytest.raises(InvalidRequest, match="no constraint"):
        await town.scaler.scale("/web", "alice")
    for lead, why in (
        (FakeLeadership(mine=False, who="gw-2").told, "gw-2 does"),
        (FakeLeadership(mine=False).told, "another one does"),
        (msgspec.structs.replace(FakeLeadership(mine=False).told, problem="ZooKeeper: no answer"), "ZooKeeper: no answer"),
    ):
        town.leadership.told = lead
        action = await town.scaler.scale(APP, "alice")
        assert (action.did, action.why) == (Did.REFUSED, f"this gateway does not lead: {why}")
    assert town.scaling.written == []


async def test_a_bug_costs_one_look() -> None:
    """What nobody foresaw is logged; the gateway's sessions, which live in the same group of tasks, go on, and so does the daemon."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    town.leadership.bug = RuntimeError("a bug")
    running = asyncio.create_task(town.scaler.run())
    async with asyncio.timeout(30):
        assert await town.scaling.writes.get() == APP
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_bug_after_the_intent_is_not_tried_again_at_each_look() -> None:
    """As after any failure there is a pause; then it goes on."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.scaling.fails = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await town.look()
    await town.look(after=1)
    assert [event.event for event in town.trail.events] == ["unique.requested"]
    town.scaling.fails = None
    await town.look(after=60)
    assert town.scaling.written == [(APP, 3)]


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_a_clock_that_jumps_holds_nothing_up_and_has_nothing_done_twice(jump: float) -> None:
    """By a day either way: what was written is not written again, and pauses of before do not last until the clock is there again."""
    town = Town(A, B, C, per_minute=1)
    town.run_on(APP, "a", "b")
    await town.look()
    await town.look(after=jump)
    assert town.scaling.written == [(APP, 3)]
    town.deployed(APP, "a", "b", "c")
    town.agents["d"] = agent("d")
    town.scaling.fails = OrchestratorUnavailable("down")
    await town.look()
    town.scaling.fails = None
    await town.look(after=-jump)
    assert town.scaling.written == [(APP, 3), (APP, 4)]


def test_a_clock_that_is_set_back_makes_no_host_flap() -> None:
    """What came back by the clock of before came back at no time that counts now."""
    seen = Presence()
    for now, hosts in ((1e6, ["a"]), (1e6 + 1, []), (1e6 + 2, ["a"]), (1e6 + 3, []), (1e6 + 4, ["a"])):
        seen.watch(hosts, now)
    assert seen.unsettled({"S": "a"}, 1e6 + 5)
    assert not seen.unsettled({"S": "a"}, 1e6 - 86_400)
    seen.watch(["a"], 1e6 - 86_400)
    assert not seen.unsettled({"S": "a"}, 1e6 + 5)


async def test_nothing_is_done_between_two_moments() -> None:
    """While a large snapshot is half applied, agents are of one moment and tasks of another: what runs on them is not known."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    tasks = [Task(f"t{at}", "f", "c-S", "TASK_RUNNING", amounts=Amounts(1)) for at in range(2 * SLICE)]
    full = [Task(f"x{at}", "f", "c-S", "TASK_RUNNING", amounts=Amounts(1000)) for at in range(4)]
    applying = town.cluster.replacing(Snapshot(agents=list(town.agents.values()), tasks=[*tasks, *full]), town.now)
    next(applying)
    await town.look(read=False)
    assert (town.scaling.written, town.scaler.judgement.complete) == ([], False)
    for _ in applying:
        pass
    await town.look(read=False)
    assert (town.scaling.written, town.scaler.judgement.complete) == ([], True)


async def test_nothing_is_done_on_a_snapshot_that_came_while_it_was_looked_at() -> None:
    """The tasks were taken before it and the agents after."""
    town = Town(A, B, C)
    town.run_on(APP, "a", "b")
    town.read()
    tasks = [Task(f"t{at}", "f", "a-S", "TASK_RUNNING", amounts=Amounts(1)) for at in range(SLICE)]
    town.cluster.learn(tasks)
    looking = asyncio.create_task(watched(town.cluster))
    await asyncio.sleep(0)
    assert not looking.done()
    town.read()
    assert not (await looking).complete
    assert (await watched(town.cluster)).complete
