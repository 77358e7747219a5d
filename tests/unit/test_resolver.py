"""A person gets the container they mean and may see, and learns of no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.control.plane import Candidate
from octopus.control.resolver import ClusterResolver, LookUp
from octopus.core.cluster import Cluster
from octopus.core.errors import AccessDenied, AmbiguousTarget, ContainerUnavailable, NoSuchTarget, OctopusError, OrchestratorUnavailable
from octopus.core.inventory import Agent, MarathonSnapshot, MarathonTask, Snapshot, Task
from octopus.core.mesos_state import decode_state
from octopus.core.names import parse_target
from octopus.core.types import EngineAddress
from tests.wire_data import mesos

LOGSTASH = "logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799"
FRONT = "web_front.instance-5e0d7a3c-8a12-11e5-9c5b-56847afe9799._app.1"


def _cluster() -> Cluster:
    cluster = Cluster()
    cluster.replace(decode_state(mesos("recorded-before-state.json")))
    return cluster


def _engine(hostname: str, ip: str) -> EngineAddress:
    return EngineAddress(url=f"https://{hostname}:2376")


def _resolver(cluster: Cluster, *look_ups: LookUp, patience: float = 3.0) -> ClusterResolver:
    return ClusterResolver(cluster, engine_address=_engine, look_ups=look_ups, patience=patience)


def _only(*starts: str) -> Callable[[str, Mapping[str, str]], bool]:
    return lambda app, labels: app.startswith(starts)


NOBODY = _only()
LOGGING = _only("/logging/")


async def test_a_task_resolves_to_all_it_takes_to_enter() -> None:
    """App, agent, engine, container, labels and ports, all from the master's state."""
    target = await _resolver(_cluster()).resolve(parse_target("logging_logstash.3f9c"), LOGGING)
    assert (target.app, target.task, target.agent) == ("/logging/logstash", LOGSTASH, "agent-1.example")
    assert target.engine.url == "https://agent-1.example:2376"
    assert target.clue.container_id == "bf6c04c2-0789-4bec-a257-eade35a60002"
    assert (target.clue.containerizer, target.labels, target.ports) == ("docker", {"OWNER": "ops"}, (31001,))
    assert (target.agent_ip, target.agent_port) == ("127.0.0.1", 5051)


@pytest.mark.parametrize("typed", [FRONT, "web_front", "web_nothing", "/web/front", "zzz", "web_front~2", "web_front@nowhere", "front"])
async def test_strangers_are_denied_the_same_for_what_is_and_what_is_not(typed: str) -> None:
    """With no right to anything near, existing and missing names give one and the same answer."""
    resolver = _resolver(_cluster())
    for may_see in (NOBODY, LOGGING):
        with pytest.raises(AccessDenied) as caught:
            await resolver.resolve(parse_target(typed), may_see)
        assert caught.value.notice == "access denied"


@pytest.mark.parametrize(
    "typed", ["logging_nothing", "/logging/gone", "logging_old.3f9c7a5e-8a11-11e5-9c5b-56847afe9799", "loging_logstash"]
)
async def test_who_may_see_such_an_app_is_told_that_it_does_not_run(typed: str) -> None:
    """The rule covers the name, or something visible is near."""
    with pytest.raises(NoSuchTarget):
        await _resolver(_cluster()).resolve(parse_target(typed), LOGGING)


@pytest.mark.parametrize("typed", ["logging_logstash~9", "logging_logstash@nowhere"])
async def test_a_suffix_that_fits_nothing_is_said_so(typed: str) -> None:
    """To someone who sees the app, a missing instance is no secret."""
    with pytest.raises(NoSuchTarget):
        await _resolver(_cluster()).resolve(parse_target(typed), _only("/logging/logstash"))


async def test_several_visible_apps_with_a_wrong_suffix_are_no_secret_either() -> None:
    """The app's name is enough to see that it was the agent that did not fit."""
    with pytest.raises(NoSuchTarget):
        await _resolver(_cluster()).resolve(parse_target("l@nowhere"), lambda app, labels: app == "/logging/logstash")
    cluster = Cluster()
    tasks = [Task(f"{name}_x.1", "f", "S1", "TASK_RUNNING", app=f"/{name}/x", confirmed=True) for name in ("qa", "qb")]
    cluster.replace(Snapshot(agents=[Agent("S1", "a")], tasks=tasks))
    with pytest.raises(NoSuchTarget):
        await _resolver(cluster).resolve(parse_target("q@nowhere"), lambda app, labels: bool(labels == {} and app in {"/qa/x", "/qb/x"}))


async def test_an_ambiguous_name_is_refused() -> None:
    """With the list of what the person may see."""
    with pytest.raises(AmbiguousTarget):
        await _resolver(_cluster()).resolve(parse_target("logging_logstash"), LOGGING)


@given(
    st.sampled_from(["logging_logstash", "web_front", "w", FRONT, "ops_plain", "opz_plain", "web_front~1", "zzz"]),
    st.sets(st.sampled_from("lwo")),
)
async def test_the_answer_is_that_of_a_cluster_without_the_invisible(typed: str, letters: set[str]) -> None:
    """Word for word: nothing that may not be seen shows in any answer."""
    may_see = _only(*(f"/{letter}" for letter in sorted(letters)))
    whole, seen = _cluster(), Cluster()
    state = decode_state(mesos("recorded-before-state.json"))
    visible = {task.id for task in whole.tasks if task.confirmed and may_see(task.app, {})}
    seen.replace(msgspec.structs.replace(state, tasks=[task for task in state.tasks if task.id in visible]))
    answers = []
    for cluster in (whole, seen):
        try:
            answers.append((await _resolver(cluster).resolve(parse_target(typed), may_see)).task)
        except OctopusError as error:
            answers.append(f"{type(error).__name__} {error.notice}")
    assert answers[0] == answers[1]


async def test_nothing_read_yet_is_unavailable() -> None:
    """Before the first whole answer of every source nobody is told that a name does not exist."""
    for cluster in (Cluster(), Cluster(marathon=True)):
        with pytest.raises(OrchestratorUnavailable):
            await _resolver(cluster).resolve(parse_target("logging_logstash"), LOGGING)


async def test_a_name_that_comes_before_the_first_reading_waits_for_it() -> None:
    """As one does on a connection that outlived a restart; nobody is told that the cluster is away, which it is not."""
    cluster = Cluster()
    read = asyncio.Event()

    async def first_reading() -> None:
        await read.wait()

    resolver = ClusterResolver(cluster, engine_address=_engine, first_reading=first_reading)
    resolving = asyncio.create_task(resolver.resolve(parse_target("ops_plain"), _only("/")))
    listing = asyncio.create_task(resolver.candidates("ops_plain", _only("/")))
    await asyncio.sleep(0)
    cluster.replace(decode_state(mesos("recorded-before-state.json")))
    read.set()
    assert (await resolving).app == "/ops/plain"
    assert [candidate.app for candidate in await listing] == ["/ops/plain"]


async def test_an_empty_cluster_that_was_read_is_just_empty() -> None:
    """Then a name does not exist, or is denied."""
    cluster = Cluster()
    cluster.replace(Snapshot())
    with pytest.raises(NoSuchTarget):
        await _resolver(cluster).resolve(parse_target("logging_logstash"), LOGGING)
    with pytest.raises(AccessDenied):
        await _resolver(cluster).resolve(parse_target("logging_logstash"), NOBODY)


async def test_a_task_too_new_is_looked_up_once() -> None:
    """When nothing fits, each look-up is asked once with what was typed, and its find is entered."""
    cluster = _cluster()
    new = Task("logging_new.1", "36e2eead-777d-47bb-9b22-f0e24e6ad73c-0000", next(iter(cluster.agents)), "TASK_RUNNING", name="new.logging")
    asked: list[str] = []

    async def look_up(task_id: str) -> bool:
        asked.append(task_id)
        cluster.learn([new])
        return True

    target = await _resolver(cluster, look_up).resolve(parse_target("logging_new.1"), LOGGING)
    assert (target.task, asked) == ("logging_new.1", ["logging_new.1"])
    await _resolver(cluster, look_up).resolve(parse_target("logging_new.1"), LOGGING)
    assert asked == ["logging_new.1"]


@pytest.mark.parametrize("typed", [FRONT, "web_front", "web_nothing", "web_new.1", "loging_logstash"])
async def test_strangers_make_nobody_look_anything_up(typed: str) -> None:
    """Else the time it takes would tell an existing name from a missing one, and guessing would reach the master."""
    asked: list[str] = []

    async def look_up(task_id: str) -> bool:
        asked.append(task_id)
        return False

    with pytest.raises((AccessDenied, NoSuchTarget)):
        await _resolver(_cluster(), look_up).resolve(parse_target(typed), _only("/logging/logstash"))
    assert asked == []


async def test_an_app_that_marathon_did_not_confirm_is_nobodys() -> None:
    """Not even a rule for everything lets anybody in, until Marathon has been asked and confirms it."""
    cluster = Cluster(marathon=True)
    task = Task("a_b.1", "f", "S1", "TASK_RUNNING", name="b.a")
    cluster.replace(Snapshot(agents=[Agent("S1", "agent-1")], frameworks={"f": "marathon"}, tasks=[task]))
    cluster.replace_marathon(MarathonSnapshot(framework="f"))
    everything = _only("/")
    with pytest.raises(NoSuchTarget):
        await _resolver(cluster).resolve(parse_target("a_b.1"), everything)
    assert await _resolver(cluster).candidates("", everything) == ()

    async def ask_marathon(task_id: str) -> bool:
        cluster.replace_marathon(MarathonSnapshot(tasks={"a_b.1": MarathonTask("/a/b", "S1")}, labels={"/a/b": {"k": "v"}}, framework="f"))
        return True

    target = await _resolver(cluster, ask_marathon).resolve(parse_target("a_b.1"), everything)
    assert (target.app, target.labels) == ("/a/b", {"k": "v"})


async def test_before_mesos_1_2_the_agent_tells_the_container() -> None:
    """The executor of a command task is called like the task there."""
    cluster = Cluster()
    cluster.replace(decode_state(mesos("master-state-0.22.0-small.json")))
    asked: list[tuple[str, str, str]] = []

    async def agent_container_id(agent: Agent, framework: str, executor: str) -> str:
        asked.append((agent.ip, framework, executor))
        return "container-1"

    resolver = ClusterResolver(cluster, engine_address=_engine, agent_container_id=agent_container_id)
    target = await resolver.resolve(parse_target("hello"), _only("/hello"))
    assert target.clue.container_id == "container-1"
    assert target.clue.containerizer == "docker"
    assert asked == [("127.0.0.1", "20150403-140128-251789322-5050-6047-0000", "hello.dc130e23-df88-11e4-b9ec-080027fc1312")]


async def test_where_the_agent_does_not_tell_the_engine_has_to() -> None:
    """An agent that is guarded or slow is no reason not to try: the sandbox names the run as well."""
    cluster = Cluster()
    cluster.replace(decode_state(mesos("master-state-0.22.0-small.json")))

    async def agent_container_id(agent: Agent, framework: str, executor: str) -> str:
        raise ContainerUnavailable("HTTP 401")

    resolver = ClusterResolver(cluster, engine_address=_engine, agent_container_id=agent_container_id)
    target = await resolver.resolve(parse_target("hello"), _only("/hello"))
    assert target.clue.container_id == ""


async def test_a_task_whose_agent_is_not_known_cannot_be_entered() -> None:
    """It is said so, rather than that it does not run."""
    cluster = Cluster()
    cluster.replace(Snapshot(tasks=[Task("t.1", "f", "S1", "TASK_RUNNING", app="/t", confirmed=True)]))
    with pytest.raises(ContainerUnavailable):
        await _resolver(cluster).resolve(parse_target("t.1"), _only("/t"))


async def test_candidates_are_what_may_be_entered() -> None:
    """By app, then start time; any part of an app's spelling or of an id filters; the limit holds."""
    resolver = _resolver(_cluster())
    everything = _only("/")
    found = await resolver.candidates("", everything)
    assert [candidate.app for candidate in found] == ["/logging/logstash", "/logging/logstash", "/ops/plain", "/ops/sleeper", "/web/front"]
    assert found[1] == Candidate(app="/logging/logstash", task=LOGSTASH, agent="agent-1.example", started=1795336598.465247)
    assert [candidate.task for candidate in await resolver.candidates("3F9C", everything)] == [LOGSTASH]
    assert len(await resolver.candidates("logging.log", everything)) == 2
    assert len(await resolver.candidates("", everything, 3)) == 3
    assert {candidate.app for candidate in await resolver.candidates("", LOGGING)} == {"/logging/logstash"}


async def test_the_replacement_is_a_task_that_started_later() -> None:
    """Instances that ran all along replace nothing; what starts meanwhile does."""
    cluster = _cluster()
    resolver = _resolver(cluster, patience=0.0)
    target = await resolver.resolve(parse_target("logging_logstash~1"), _only("/"))
    assert await resolver.replacement(target) == ""
    earlier = msgspec.structs.replace(target, newest=target.newest - 1)
    assert await _resolver(cluster).replacement(earlier) == LOGSTASH
