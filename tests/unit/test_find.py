"""What people type finds the one task they mean, and tells nothing of tasks they may not see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.cluster import Cluster
from octopus.core.errors import AmbiguousTarget, NoSuchTarget, OctopusError
from octopus.core.find import MAX_BODY, MAX_CANDIDATES, find, host, suggestions
from octopus.core.inventory import RUNNING, Agent, Snapshot, Task
from octopus.core.names import parse_target
from octopus.core.types import TargetName

LOGSTASH = "logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799"
OTHER = "logging_logstash.41d0b2c7-8a11-11e5-9c5b-56847afe9799"
POD_TASKS = ("ops_pod.instance-d00d.main", "ops_pod.instance-d00d.side")
WEB = "web_front.instance-5e0d7a3c-8a12-11e5-9c5b-56847afe9799._app.1"


def _task(task_id: str, app: str, started: float = 1.0, agent: str = "S1", state: str = RUNNING) -> Task:
    return Task(task_id, "f", agent, state, started=started, app=app, confirmed=True)


TASKS = [
    _task(LOGSTASH, "/logging/logstash", 20.0, "S1"),
    _task(OTHER, "/logging/logstash", 10.0, "S2"),
    _task("logging_heka.1", "/logging/heka", 10.0, "S3"),
    _task(WEB, "/web/front", 5.0, "S2"),
    _task("ops_pod.instance-d00d.main", "/ops/pod", 5.0, "S1"),
    _task("ops_pod.instance-d00d.side", "/ops/pod", 5.0, "S1"),
    _task("a_b_c.1", "/a/b_c", 1.0, "S1"),
    _task("a_b_c.2", "/a_b/c", 2.0, "S9"),
    _task("soon.1", "/soon", 0.0, "S1", "TASK_STAGING"),
]
AGENTS = [Agent("S1", "agent-1.example"), Agent("S2", "agent-2.example"), Agent("S3", "Agent-30.example"), Agent("S4", "")]


def _cluster(tasks: list[Task]) -> Cluster:
    cluster = Cluster()
    cluster.replace(Snapshot(agents=AGENTS, tasks=tasks))
    return cluster


CLUSTER = _cluster(TASKS)


def _everything(task: Task) -> bool:
    return True


def _find(text: str, may_see: Callable[[Task], bool] = _everything) -> str:
    return find(CLUSTER, parse_target(text), may_see).id


@pytest.mark.parametrize(
    ("typed", "task"),
    [
        (LOGSTASH, LOGSTASH),
        ("logging_logstash.3f9c", LOGSTASH),
        ("logging_logstash~1", OTHER),
        ("logging_logstash~2", LOGSTASH),
        ("logging_logstash~any", OTHER),
        ("/logging/logstash~2", LOGSTASH),
        ("logging.logstash~2", LOGSTASH),
        ("/logging/heka", "logging_heka.1"),
        ("logging.heka", "logging_heka.1"),
        ("logging_heka", "logging_heka.1"),
        ("logging_heka~1", "logging_heka.1"),
        ("logging_h", "logging_heka.1"),
        ("logging_logstash@agent-1", LOGSTASH),
        ("logging_logstash@agent-2.example", OTHER),
        ("logging_heka@AGENT-3", "logging_heka.1"),
        ("web_front.instance-5e0d7a3c-8a12-11e5-9c5b-56847afe9799", WEB),
        ("ops_pod.instance-d00d.side", "ops_pod.instance-d00d.side"),
        ("/a/b_c", "a_b_c.1"),
        ("/a_b/c", "a_b_c.2"),
        ("a_b_c@S9", "a_b_c.2"),
    ],
)
def test_every_spelling_finds_its_task(typed: str, task: str) -> None:
    """Ids, starts of ids, instance ids, apps in all forms, the Nth, any, on an agent."""
    assert _find(typed) == task


@pytest.mark.parametrize(
    ("typed", "notice", "candidates"),
    [
        ("logging_logstash", "'logging_logstash' is 2 running tasks", (OTHER, LOGSTASH)),
        ("a_b_c", "'a_b_c' is 2 apps", ("/a/b_c", "/a_b/c")),
        ("a_b_c~1", "'a_b_c~1' is 2 apps", ("/a/b_c", "/a_b/c")),
        ("logging", "'logging' is 2 apps", ("/logging/heka", "/logging/logstash")),
        ("ops_pod.instance-d00d", "'ops_pod.instance-d00d' is 2 running tasks", POD_TASKS),
        ("ops_pod@agent-1", "'ops_pod@agent-1' is 2 running tasks", POD_TASKS),
        ("logging_logstash@agent", "'agent' is 2 agents", ("agent-1.example", "agent-2.example")),
    ],
)
def test_what_fits_several_is_refused_with_a_list(typed: str, notice: str, candidates: tuple[str, ...]) -> None:
    """How many there are to choose from, and which; they are told once, by whoever tells the person."""
    with pytest.raises(AmbiguousTarget) as caught:
        _find(typed)
    assert (caught.value.notice, caught.value.candidates) == (notice, candidates)


@pytest.mark.parametrize(
    ("typed", "notice"),
    [
        ("loging_heka", "no running task matches 'loging_heka' (did you mean logging_heka?)"),
        ("heka", "no running task matches 'heka' (did you mean logging_heka?)"),
        ("logging_heka.dead-beef", "no running task matches 'logging_heka.dead-beef' (did you mean logging_heka?)"),
        ("soon.1", "no running task matches 'soon.1'"),
        ("nothing-like-it", "no running task matches 'nothing-like-it'"),
        ("logging_logstash~3", "'logging_logstash' has 2 running tasks, not 3"),
        ("logging_heka~9", "'logging_heka' has 1 running task, not 9"),
        ("logging_heka@agent-1", "no running task of 'logging_heka' is on 'agent-1'"),
    ],
)
def test_what_fits_nothing_is_refused_with_a_hint(typed: str, notice: str) -> None:
    """The nearest names, where there are any; a task that does not run yet is none."""
    with pytest.raises(NoSuchTarget) as caught:
        _find(typed)
    assert caught.value.notice == notice


def test_a_list_is_bounded() -> None:
    """Of many tasks all are counted and some are named."""
    many = _cluster([_task(f"app.{number}", "/app") for number in range(300)])
    with pytest.raises(AmbiguousTarget) as caught:
        find(many, parse_target("app"), _everything)
    assert (caught.value.notice, len(caught.value.candidates)) == ("'app' is 300 running tasks", MAX_CANDIDATES)


def test_upstreams_names_are_escaped() -> None:
    """A task's name cannot act on the person's terminal."""
    evil = _cluster([_task("x\x1b[2J.1", "/x\x1b"), _task("x\x1b[2J.2", "/x\x1b")])
    with pytest.raises(AmbiguousTarget) as caught:
        find(evil, TargetName(text="x", body="x"), _everything)
    assert "\x1b" not in caught.value.notice


@pytest.mark.parametrize("body", ["", "x" * (MAX_BODY + 1)])
def test_no_name_and_endless_names_match_nothing(body: str) -> None:
    """Neither is looked for."""
    with pytest.raises(NoSuchTarget):
        find(CLUSTER, TargetName(text=body, body=body), _everything)


def test_suggestions_are_few() -> None:
    """At most three, the nearest first."""
    many = _cluster([_task(f"app-{number}.1", f"/app-{number}") for number in range(9)])
    assert suggestions(many, "app-x", _everything) == ["app-0", "app-1", "app-2"]


def test_an_agent_without_a_name_goes_by_its_id() -> None:
    """So does one that is not known yet."""
    assert host(CLUSTER, _task("t", "/t", agent="S4")) == "S4"
    assert host(CLUSTER, _task("t", "/t", agent="S77")) == "S77"


def _answer(cluster: Cluster, typed: TargetName, may_see: Callable[[Task], bool]) -> tuple[object, ...]:
    try:
        return ("found", find(cluster, typed, may_see))
    except OctopusError as error:
        return (type(error), error.notice, getattr(error, "candidates", ()))


TYPED = st.builds(
    lambda body, instance, any_, agent: TargetName(text=body, body=body, instance=instance, any=any_, agent=agent),
    st.one_of(st.sampled_from([task.id for task in TASKS] + [task.app for task in TASKS]), st.text(alphabet="abcdegloins_./", max_size=12)),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(["", "agent", "agent-1", "S9"]),
)


@given(TYPED, st.sets(st.sampled_from(sorted({task.app for task in TASKS}))))
def test_invisible_tasks_change_nothing(typed: TargetName, visible: set[str]) -> None:
    """The answer over the whole cluster is the answer over only what the person may see, word for word."""
    seen = _cluster([task for task in TASKS if task.app in visible])
    assert _answer(CLUSTER, typed, lambda task: task.app in visible) == _answer(seen, typed, _everything)


@given(st.sampled_from([task for task in TASKS if task.running]))
def test_a_whole_id_always_finds_its_task(task: Task) -> None:
    """Whatever else begins so."""
    assert find(CLUSTER, TargetName(text=task.id, body=task.id), _everything) == task
