"""Snapshots and events keep the Cluster true, whatever their order."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus.core.cluster import SLICE, Cluster, awaited_agents
from octopus.core.decoders import RecordIO
from octopus.core.inventory import RUNNING, Agent, MarathonSnapshot, MarathonTask, Snapshot, Task, used_by_agent
from octopus.core.mesos_events import (
    AgentAdded,
    AgentRemoved,
    FrameworkChanged,
    FrameworkRemoved,
    TaskAdded,
    TaskUpdated,
    decode_event,
    decode_get_state,
    decode_subscribed,
)
from octopus.core.mesos_state import decode_state
from octopus.core.placement_offers import free_by_role, offers
from octopus.core.placement_rules import Rules
from octopus.core.resources import Amounts
from octopus.core.task_index import BULK, TaskIndex
from tests.wire_data import mesos


def _task(task_id: str, *, agent: str = "S1", framework: str = "f", state: str = RUNNING, app: str = "", **more: object) -> Task:
    return msgspec.structs.replace(Task(task_id, framework, agent, state, app=app, confirmed=bool(app)), **more)


def _ids(cluster: Cluster) -> set[str]:
    return {task.id for task in cluster.tasks}


def _content(cluster: Cluster) -> tuple[object, ...]:
    tasks = sorted((task for task in cluster.tasks), key=lambda task: (task.id, task.framework))
    return tasks, cluster.agents, cluster.tasks.apps(), [task.id for task in cluster.tasks.with_prefix("")]


@pytest.mark.parametrize(("events", "moment"), [(108, "with-unreachable"), (None, "after")])
def test_the_replayed_stream_is_the_state(events: int | None, moment: str) -> None:
    """A real stream replayed from an empty cluster gives what GET_STATE gave then: agents lost, back and gone, tasks killed."""
    first, *records = RecordIO().feed(mesos("recorded-subscribe.recordio"))
    followed, read = Cluster(), Cluster()
    followed.replace(decode_subscribed(first))
    read.replace(decode_get_state(mesos(f"recorded-{moment}-get-state.json")))
    for record in records:
        event = decode_event(record)
        if event is not None:
            followed.apply(event)
        unreachable = isinstance(event, TaskUpdated) and event.state == "TASK_UNREACHABLE" and event.task.startswith("ops_victim")
        if events is not None and unreachable:
            break
    wanted, known = _content(read), _content(followed)
    assert known[0] == wanted[0]
    assert known[2:] == wanted[2:]
    # An unreachable agent gives no AGENT_REMOVED: it stays known, without tasks, until it is removed for good.
    assert set(followed.agents) - set(read.agents) <= {
        agent.id for agent in followed.agents.values() if agent.hostname == "agent-3.example"
    }


def test_an_agent_that_comes_back_brings_its_tasks_first() -> None:
    """TASK_ADDED of an unknown agent is kept and is whole once the agent is added."""
    cluster = Cluster()
    cluster.apply(FrameworkChanged("f", "chronos"))
    cluster.apply(TaskAdded(_task("t", name="job")))
    (task,) = cluster.tasks.running("t")
    assert cluster.agent(task) is None
    cluster.apply(AgentAdded(Agent("S1", "agent-1")))
    assert cluster.agent(task) == Agent("S1", "agent-1")
    cluster.apply(AgentRemoved("S1"))
    assert (_ids(cluster), cluster.agents) == (set(), {})


def _free(cluster: Cluster) -> dict[str, int]:
    agent = cluster.agents["S1"]
    free, sure = free_by_role(agent, used_by_agent(cluster.tasks).get("S1", Amounts()) + agent.others)
    assert free == sure
    return {role: each.cpus for role, each in free.items()}


def test_what_tasks_use_of_a_reservation_is_true_between_snapshots() -> None:
    """Events tell of tasks only: each takes from the reservation it is of, once, and gives it back when it is over."""
    cluster = Cluster()
    kept = {"web": Amounts(4000)}
    cluster.replace(Snapshot(agents=[Agent("S1", "a", total=Amounts(6000), reserved=kept, reserved_used={})]))
    reserved = _task("t", amounts=Amounts(3000), reserved=(("web", Amounts(3000)),))
    for task in (reserved, reserved, _task("u", amounts=Amounts(1000))):
        cluster.apply(TaskAdded(task))
    assert _free(cluster) == {"web": 1000, "*": 1000}
    cluster.apply(TaskUpdated("f", "t", "TASK_FAILED"))
    assert _free(cluster) == {"web": 4000, "*": 1000}
    cluster.apply(TaskAdded(reserved))
    cluster.apply(FrameworkRemoved("f"))
    assert _free(cluster) == {"web": 4000, "*": 2000}
    cluster.apply(TaskAdded(msgspec.structs.replace(reserved, agent="S9")))
    cluster.apply(AgentRemoved("S9"))
    assert _free(cluster) == {"web": 4000, "*": 2000}


@pytest.mark.parametrize(("state", "reason"), [("TASK_UNREACHABLE", "REASON_AGENT_REMOVED"), ("TASK_LOST", "REASON_SLAVE_REMOVED")])
def test_an_agent_that_cannot_be_reached_is_not_free(state: str, reason: str) -> None:
    """Only its tasks' ends tell of it: it takes nothing until it is back."""
    cluster = Cluster()
    cluster.replace(Snapshot(agents=[Agent("S1", "a", total=Amounts(6000))], tasks=[_task("t"), _task("u")]))
    status = {"task_id": {"value": "t"}, "state": state, "reason": reason}
    told = {"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": "f"}, "status": status, "state": state}}
    event = decode_event(json.dumps(told).encode())
    assert event is not None
    cluster.apply(event)
    [offer] = offers(cluster.agents.values(), cluster.tasks, Rules())
    assert offer.withheld == "disconnected"
    cluster.apply(AgentRemoved("S1"))
    cluster.apply(TaskAdded(_task("t")))
    cluster.apply(event)
    cluster.apply(AgentAdded(Agent("S1", "a")))
    assert cluster.agents["S1"].active


def test_executors_on_an_agent_that_is_back_count() -> None:
    """It brings its tasks and then itself: what is used beyond them is used all the same, until the whole is read again."""
    cluster = Cluster()
    cluster.replace(Snapshot(agents=[Agent("S1", "a", total=Amounts(6000))], tasks=[_task("t", amounts=Amounts(1000))]))
    for wanted, awaited in (({"*": 3500}, set[str]()), ({"*": 5000}, {"S9"})):
        cluster.awaited = awaited
        cpus = [{"name": "cpus", "scalar": {"value": value}} for value in (6, 2.5)]
        agent = {"agent_info": {"id": {"value": "S1"}}, "total_resources": cpus[:1], "allocated_resources": cpus[1:]}
        event = decode_event(json.dumps({"type": "AGENT_ADDED", "agent_added": {"agent": agent}}).encode())
        assert event is not None
        cluster.apply(event)
        assert _free(cluster) == wanted


def test_a_task_lives_through_its_states() -> None:
    """Staging is known but cannot be entered; running can; finished is forgotten; what is unknown is left alone."""
    cluster = Cluster()
    cluster.apply(TaskAdded(_task("t", state="TASK_STAGING")))
    assert cluster.tasks.running("t") == []
    cluster.apply(TaskUpdated("f", "t", "TASK_STARTING", 5.0, "c-1", ("p",)))
    cluster.apply(TaskUpdated("f", "t", RUNNING, 6.0))
    cluster.apply(TaskUpdated("f", "t", RUNNING, 7.0))
    (task,) = cluster.tasks.running("t")
    assert (task.container, task.parents, task.started) == ("c-1", ("p",), 6.0)
    cluster.apply(TaskUpdated("f", "other", RUNNING))
    cluster.apply(TaskAdded(_task("over", state="TASK_FINISHED")))
    cluster.apply(TaskUpdated("f", "t", "TASK_FINISHED"))
    assert _ids(cluster) == set()


def test_a_framework_takes_its_tasks_with_it_and_gives_them_its_name() -> None:
    """FRAMEWORK_REMOVED ends its tasks; a name that comes later makes the app known."""
    cluster = Cluster()
    cluster.apply(TaskAdded(_task("t", name="job")))
    cluster.apply(TaskAdded(_task("u", framework="g")))
    assert not cluster.tasks.running("t")[0].confirmed
    cluster.apply(FrameworkChanged("f", "chronos"))
    cluster.apply(FrameworkChanged("f", "chronos"))
    assert cluster.tasks.running("t")[0].app == "framework:chronos/job"
    cluster.apply(FrameworkRemoved("f"))
    assert _ids(cluster) == {"u"}


def test_one_id_in_two_frameworks_is_two_tasks() -> None:
    """An id is unique within a framework only; neither displaces nor takes the other with it."""
    cluster = Cluster()
    cluster.apply(TaskAdded(_task("t", app="/one")))
    cluster.apply(TaskAdded(_task("t", framework="g", app="/two")))
    assert [task.app for task in cluster.tasks.running("t")] == ["/one", "/two"]
    assert len(cluster.tasks) == 2
    cluster.apply(FrameworkRemoved("f"))
    assert [task.app for task in cluster.tasks.with_prefix("t")] == ["/two"]
    assert cluster.tasks.apps() == ["/two"]
    cluster.apply(TaskAdded(_task("t", framework="h", app="/two")))
    cluster.apply(FrameworkRemoved("g"))
    assert [task.framework for task in cluster.tasks.of_app("/two")] == ["h"]


def test_a_snapshot_replaces_all() -> None:
    """What a whole snapshot does not have is gone."""
    cluster = Cluster()
    for _ in range(2):
        cluster.replace(decode_state(mesos("recorded-before-state.json")))
        assert len(_ids(cluster)) == 7
    assert cluster.tasks.of_app("/logging/logstash")[0].id.startswith("logging_logstash.41d0")
    cluster.replace(decode_state(mesos("master-state-0.22.0-large.json")))
    assert len(cluster.tasks) == 131
    assert cluster.tasks.apps_named("logging_logstash") == []
    cluster.replace(Snapshot())
    assert _content(cluster) == ([], {}, [], [])


def test_after_a_failover_tasks_of_agents_not_yet_back_are_kept() -> None:
    """Mesos 1.2 lists the agents it waits for; their tasks stay, those of others go."""
    cluster = Cluster()
    agents = [Agent("S1", "a1"), Agent("S2", "a2"), Agent("S3", "a3")]
    tasks = [_task("one", agent="S1"), _task("two", agent="S2"), _task("three", agent="S3")]
    cluster.replace(Snapshot(agents=agents, tasks=tasks, frameworks={"f": "chronos"}))
    cluster.replace(Snapshot(agents=agents[:1], recovered=["S2"]))
    assert (_ids(cluster), set(cluster.agents)) == ({"two"}, {"S1", "S2"})
    assert cluster.awaited == {"S2"}
    cluster.apply(AgentAdded(agents[1]))
    assert (_ids(cluster), cluster.awaited) == ({"two"}, set())
    cluster.replace(Snapshot(agents=agents[:2], recovered=[]))
    assert _ids(cluster) == set()


def test_before_1_2_a_fresh_leader_has_ten_minutes() -> None:
    """Where the leader does not list them, agents it has not are awaited until ten minutes after its election."""
    known = {"S1": Agent("S1", "a1"), "S2": Agent("S2", "a2")}
    fresh = Snapshot(agents=[Agent("S1", "a1")], elected=1000.0)
    assert awaited_agents(fresh, known, now=1599.0) == {"S2"}
    assert awaited_agents(fresh, known, now=1600.0) == frozenset()
    assert awaited_agents(Snapshot(agents=[Agent("S1", "a1")]), known, now=5.0) == frozenset()


def test_it_is_ready_once_every_source_was_read() -> None:
    """With a Marathon configured, Mesos alone is not enough."""
    plain, both = Cluster(), Cluster(marathon=True)
    assert not plain.ready
    for cluster in (plain, both):
        cluster.replace(Snapshot())
    assert (plain.ready, both.ready) == (True, False)
    both.replace_marathon(MarathonSnapshot())
    assert both.ready


def test_marathon_confirms_and_withdraws() -> None:
    """A task becomes confirmed when Marathon lists it, has its app's labels then, and is a guess again when it is off the list."""
    cluster = Cluster(marathon=True)
    cluster.replace(Snapshot(agents=[Agent("S1", "a")], frameworks={"f": "marathon"}, tasks=[_task("a_b.1", labels={"in": "mesos"})]))
    assert not cluster.tasks.running("a_b.1")[0].confirmed
    cluster.replace_marathon(
        MarathonSnapshot(tasks={"a_b.1": MarathonTask("/a/b", "S1")}, labels={"/a/b": {"in": "marathon"}}, framework="f")
    )
    (task,) = cluster.tasks.of_app("/a/b")
    assert task.confirmed
    assert cluster.labels(task) == {"in": "marathon"}
    cluster.replace_marathon(MarathonSnapshot(framework="f"))
    (task,) = cluster.tasks.of_app("/a/b")
    assert not task.confirmed
    assert cluster.labels(task) == {}


def test_a_container_of_a_plain_engine_keeps_its_app() -> None:
    """Marathon has no say over it."""
    cluster = Cluster()
    cluster.replace(Snapshot(tasks=[_task("c" * 64, app="web", engine="c" * 64, labels={"k": "v"})]))
    cluster.replace_marathon(MarathonSnapshot())
    assert [task.confirmed for task in cluster.tasks.of_app("web")] == [True]
    assert cluster.labels(cluster.tasks.of_app("web")[0]) == {"k": "v"}


def test_a_task_looked_up_is_known_at_once() -> None:
    """``learn`` adds it between two snapshots."""
    cluster = Cluster()
    cluster.learn([_task("new.1")])
    assert cluster.tasks.running("new.1")


def test_a_large_snapshot_comes_in_slices() -> None:
    """Whoever applies it can let others run in between, and exact ids are found meanwhile."""
    cluster = Cluster()
    tasks = [_task(f"t-{number}", app=f"/app-{number % 7}") for number in range(2 * SLICE)]
    steps = cluster.replacing(Snapshot(tasks=tasks))
    next(steps)
    assert cluster.tasks.running("t-0")
    assert not cluster.ready
    assert len(list(steps)) == 3
    assert len(list(cluster.replacing_marathon(MarathonSnapshot()))) == 2
    assert len(list(cluster.tasks.with_prefix("t-"))) == 2 * SLICE


CHANGE = st.tuples(st.sampled_from("abcdef"), st.sampled_from("fg"), st.sampled_from(["/x", "/y/z", "/y.z"]), st.booleans(), st.booleans())


@settings(max_examples=60)
@given(st.lists(CHANGE, max_size=40), st.booleans())
def test_the_index_never_drifts(changes: list[tuple[str, str, str, bool, bool]], bulk: bool) -> None:
    """Whatever is put and removed, in bulk or one by one, every way of finding sees exactly the running tasks."""
    index = TaskIndex()
    if bulk:
        index.begin_bulk()
        index.begin_bulk()
    model: dict[tuple[str, str], Task] = {}
    for task_id, framework, app, running, remove in changes:
        task = _task(task_id, framework=framework, app=app, state=RUNNING if running else "TASK_STAGING")
        if remove:
            index.remove(framework, task_id)
            model.pop((framework, task_id), None)
        else:
            index.put(task)
            model[framework, task_id] = task
    index.end_bulk()
    running_tasks = {(task.framework, task.id) for task in model.values() if task.running}
    assert {(task.framework, task.id) for task in index} == set(model)
    assert {(task.framework, task.id) for task in index.with_prefix("")} == running_tasks
    assert {(task.framework, task.id) for app in index.apps() for task in index.of_app(app)} == running_tasks
    assert {app for name in index.names() for app in index.apps_named(name)} == set(index.apps())


def test_two_apps_may_share_a_spelling() -> None:
    """When one of them ends, the other is still found by it."""
    index = TaskIndex()
    index.put(_task("one", app="/a/b_c"))
    index.put(_task("two", app="/a_b/c"))
    assert index.apps_named("a_b_c") == ["/a/b_c", "/a_b/c"]
    index.remove("f", "one")
    assert index.apps_named("a.b.c") == ["/a_b/c"]


def test_a_bulk_of_many_is_sorted_once() -> None:
    """Above BULK changes the list is rebuilt, and is right."""
    index = TaskIndex()
    index.begin_bulk()
    for number in range(BULK * 2):
        index.put(_task(f"t-{number}", app="/a"))
    index.end_bulk()
    index.begin_bulk()
    for number in range(BULK + 5):
        index.remove("f", f"t-{number}")
    index.end_bulk()
    assert [task.id for task in index.with_prefix("t-")] == sorted(f"t-{number}" for number in range(BULK + 5, BULK * 2))


def test_what_marathon_said_is_kept() -> None:
    """The whole of it, for whoever computes with apps; nothing where none is configured."""
    with_marathon, without = Cluster(marathon=True), Cluster()
    said = MarathonSnapshot(labels={"/a": {}}, framework="f")
    with_marathon.replace_marathon(said)
    assert with_marathon.marathon is said
    assert without.marathon == MarathonSnapshot()


def test_equal_amounts_are_kept_once() -> None:
    """However the tasks came: of 100,000 tasks most use one of a few amounts."""
    cluster = Cluster()
    cluster.replace(Snapshot(tasks=[_task(name, amounts=Amounts(1000, size)) for name, size in (("a", 5), ("b", 5), ("c", 6))]))
    a, b, c = sorted(cluster.tasks, key=lambda task: task.id)
    assert a.amounts is b.amounts
    assert a.amounts != c.amounts
