"""What masters and agents of every version say is read; what they should not say is skipped or refused."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.agent_state import container_of
from octopus.core.decoders import RecordIO
from octopus.core.errors import BadUpstream
from octopus.core.inventory import MAX_PORTS, Task
from octopus.core.mesos_events import (
    AgentAdded,
    AgentRemoved,
    FrameworkChanged,
    FrameworkRemoved,
    MesosEvent,
    TaskAdded,
    TaskUpdated,
    decode_event,
    decode_get_state,
    decode_subscribed,
)
from octopus.core.mesos_state import decode_state, decode_tasks, names_containers
from octopus.core.wire import PortRange, address, port_ranges, ports
from tests.wire_data import mesos, mesos_names

COUNTS = {
    "master-state-0.19.0.json": (2, 2),
    "master-state-0.19.1-edited.json": (4, 9),
    "master-state-0.22.0-large.json": (6, 131),
    "master-state-0.22.0-small.json": (1, 1),
    "master-state-0.25.0.json": (1, 4),
    "master-state-0.27.0-attributes.json": (6, 4),
    "master-state-0.27.0-docker.json": (1, 1),
    "master-state-0.28.0-reservations.json": (1, 1),
    "master-state-0.28.0.json": (3, 2),
    "master-state-0.28.1-attributes.json": (2, 1),
    "master-state-1.0.1-overlay.json": (1, 1),
    "master-state-1.2.0-attributes.json": (2, 3),
    "master-state-1.2.0.json": (2, 1),
    "master-state-1.5.0.json": (2, 6),
    "recorded-before-state.json": (2, 7),
    "recorded-with-unreachable-state.json": (2, 7),
    "recorded-after-state.json": (2, 6),
}
"""Agents and live tasks of each state."""


def _task(snapshot_tasks: list[Task], start: str) -> Task:
    return next(task for task in snapshot_tasks if task.id.startswith(start))


def test_every_recorded_state_is_counted() -> None:
    """No recorded state is left out of the counts."""
    recorded = [f"recorded-{moment}-state.json" for moment in ("before", "with-unreachable", "after")]
    assert set(COUNTS) == {*mesos_names("master-state-"), *recorded}


@pytest.mark.parametrize(("name", "counts"), COUNTS.items())
def test_a_state_of_any_version_is_read_whole(name: str, counts: tuple[int, int]) -> None:
    """Every agent and every live task is there, nothing had to be skipped, and the leader is known."""
    snapshot = decode_state(mesos(name))
    assert (len(snapshot.agents), len(snapshot.tasks)) == counts
    assert snapshot.skipped == 0
    assert snapshot.leader == snapshot.pid != ""
    assert all(agent.ip and agent.port for agent in snapshot.agents if "edited" not in name)


def test_an_orphan_task_is_read() -> None:
    """A task whose framework has not come back after a failover runs on (0.28 lists it apart)."""
    (task,) = decode_state(mesos("master-state-0.28.0-reservations.json")).tasks
    assert task.id == "test.b759a32a-e608-11e5-979a-da5f91e88a84"
    assert task.ports == (31903,)


def test_a_docker_task_of_today_is_read() -> None:
    """Container, start, ports, labels and containerizer come from where 1.11 has them."""
    task = _task(decode_state(mesos("recorded-before-state.json")).tasks, "logging_logstash.3f9c")
    assert (task.name, task.executor, task.containerizer) == ("logstash.logging", "", "docker")
    assert task.container == "bf6c04c2-0789-4bec-a257-eade35a60002"
    assert task.started == 1795336598.465247
    assert task.ports == (31001,)
    assert task.labels == {"OWNER": "ops"}
    assert task.clue.task_id == task.id


def test_a_pods_task_has_its_parents() -> None:
    """The container of a pod's task is nested in the pod's."""
    task = _task(decode_state(mesos("recorded-before-state.json")).tasks, "ops_pod.instance-")
    assert task.parents == ("57c45f2f-3361-4770-9f8a-522721a96566",)
    assert (task.executor, task.containerizer) == ("instance-ops_pod.d00d0001-8a12-11e5-9c5b-56847afe9799", "mesos")


def test_the_containerizer_is_docker_where_the_master_cannot_say() -> None:
    """Before 0.27 a task without a container may be Docker's; from 0.27 on it is not."""
    assert {task.containerizer for task in decode_state(mesos("master-state-0.22.0-large.json")).tasks} == {"docker"}
    new = ("0.27.0-rc1", "1.0.0", "", "garbage", "0", "0.x", "0." + "9" * 5000)
    assert [names_containers(version) for version in ("0.22.1", "0.26.0", *new)] == [False, False, *[True] * len(new)]


@pytest.mark.parametrize("moment", ["before", "with-unreachable", "after"])
def test_v0_and_v1_tell_the_same(moment: str) -> None:
    """``/state`` and ``GET_STATE`` of one moment give equal snapshots of agents and tasks."""
    old, new = decode_state(mesos(f"recorded-{moment}-state.json")), decode_get_state(mesos(f"recorded-{moment}-get-state.json"))
    assert sorted(old.tasks, key=lambda task: task.id) == sorted(new.tasks, key=lambda task: task.id)
    assert sorted(old.agents, key=lambda agent: agent.id) == sorted(new.agents, key=lambda agent: agent.id)
    assert old.frameworks == new.frameworks
    assert old.recovered == new.recovered == []


def test_a_bad_entry_is_skipped_and_counted() -> None:
    """An agent, framework or task that cannot be read costs only itself."""
    task = {"id": "a.b", "framework_id": "f", "slave_id": "s", "state": "TASK_RUNNING"}
    state = {
        "slaves": [{"id": "s", "hostname": "h", "pid": "nonsense"}, {"id": 5}],
        "frameworks": [{"id": "f", "tasks": [task, {"id": "only"}, 7]}, "none"],
    }
    snapshot = decode_state(json.dumps(state).encode())
    assert [item.id for item in snapshot.tasks] == ["a.b"]
    assert [(item.ip, item.port) for item in snapshot.agents] == [("", 0)]
    assert snapshot.skipped == 4


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"[]", b'{"slaves": 1}', b'{"slaves":[],"frameworks":[', b"\xff", b"[" * 100_000])
def test_what_is_no_state_is_refused(body: bytes) -> None:
    """Nothing, half, another thing: BadUpstream with a short excerpt, never a partial snapshot."""
    with pytest.raises(BadUpstream) as caught:
        decode_state(body)
    assert len(str(caught.value)) < 600


@given(st.binary(max_size=300))
def test_any_bytes_give_values_or_bad_upstream(body: bytes) -> None:
    """No decoder raises anything but BadUpstream."""
    for decode in (decode_state, decode_tasks, decode_get_state, decode_subscribed, decode_event):
        with contextlib.suppress(BadUpstream):
            decode(body)


def test_one_task_asked_for_is_read() -> None:
    """``/tasks?task_id=`` has the shape of the state's tasks."""
    (task,) = decode_tasks(mesos("recorded-tasks-of-id.json"))
    assert task.running
    assert task.container


def test_the_whole_recorded_stream_is_read() -> None:
    """Every kind of event of a real stream is understood; a heartbeat says nothing."""
    first, *records = RecordIO().feed(mesos("recorded-subscribe.recordio"))
    assert decode_subscribed(first).tasks == []
    events = [decode_event(record) for record in records]
    kinds = {type(event) for event in events if event is not None}
    assert kinds == {TaskAdded, TaskUpdated, AgentAdded, AgentRemoved, FrameworkChanged, FrameworkRemoved}
    assert None in events


@pytest.mark.parametrize("name", mesos_names("subscribe-"))
def test_streams_of_other_versions_are_read(name: str) -> None:
    """Recorded streams of Mesos 1.x decode without an exception or a skipped entry."""
    first, *rest = mesos(name).splitlines()
    assert decode_subscribed(first).skipped == 0
    for line in rest:
        decode_event(line)


def test_recovered_agents_are_read() -> None:
    """After a failover the stream names the agents it waits for."""
    first = mesos("subscribe-recovered-agents.jsonl").splitlines()[0]
    assert decode_subscribed(first).recovered == ["65fccc5d-35a8-4cae-9eb2-05922043018e-S0"]


def test_an_update_without_a_state_has_its_statuss() -> None:
    """``state`` is the one to show; where it is missing the status's own counts."""
    event = {
        "type": "TASK_UPDATED",
        "task_updated": {"framework_id": {"value": "f"}, "status": {"task_id": {"value": "t"}, "state": "TASK_LOST"}},
    }
    assert decode_event(json.dumps(event).encode()) == TaskUpdated("f", "t", "TASK_LOST")
    event["type"] = "SOMETHING_NEW"
    del event["task_updated"]
    assert decode_event(json.dumps(event).encode()) is None


def test_a_bad_event_names_its_kind_and_nothing_of_its_data() -> None:
    """The error carries the event's type, not a status's data, which may hold secrets."""
    with pytest.raises(BadUpstream) as caught:
        decode_event(b'{"type":"TASK_UPDATED","task_updated":{"status":{"data":"c2VjcmV0"}}}')
    assert "TASK_UPDATED" in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_the_v1_task_of_any_shape_is_read() -> None:
    """A v1 task with and without its optional parts."""
    task = {"task_id": {"value": "t"}, "framework_id": {"value": "f"}, "agent_id": {"value": "a"}, "state": "TASK_RUNNING"}
    full = task | {
        "executor_id": {"value": "e"},
        "labels": {"labels": [{"key": "k"}]},
        "container": {"type": "DOCKER"},
        "resources": [
            {"name": "ports", "ranges": {"range": [{"begin": 5, "end": 6}]}},
            {"name": "ports"},
            {"name": "cpus", "ranges": {"range": [{"begin": 9, "end": 9}]}},
        ],
    }
    bare, whole = (decode_event(json.dumps({"type": "TASK_ADDED", "task_added": {"task": item}}).encode()) for item in (task, full))
    assert bare == TaskAdded(Task("t", "f", "a", "TASK_RUNNING"))
    expected = Task("t", "f", "a", "TASK_RUNNING", executor="e", labels={"k": ""}, containerizer="docker", ports=(5, 6))
    assert whole == TaskAdded(expected)


def test_the_container_of_the_last_running_status_counts() -> None:
    """Statuses the master made name none, and a later status of another state does not displace the running one's."""

    def status(state: str, container: str = "") -> dict[str, object]:
        found = {"container_status": {"container_id": {"value": container}}} if container else {}
        return {"state": state, "timestamp": 1.0} | found

    def read(*statuses: dict[str, object]) -> str:
        task = {"id": "t", "framework_id": "f", "slave_id": "s", "state": "TASK_RUNNING", "statuses": statuses}
        return decode_tasks(json.dumps({"tasks": [task]}).encode())[0].container

    assert read(status("TASK_STARTING", "one"), status("TASK_RUNNING")) == "one"
    assert read(status("TASK_RUNNING", "one"), status("TASK_KILLING", "two")) == "one"
    assert read(status("TASK_RUNNING", "one"), status("TASK_RUNNING", "two"), status("TASK_UNREACHABLE")) == "two"
    assert read({"state": "TASK_RUNNING", "container_status": {"container_id": {}}}) == ""


@given(st.text(max_size=60))
def test_any_text_of_ports_is_read(text: str) -> None:
    """Whatever a master writes for ports gives ports, and not too many."""
    found = ports(port_ranges(text))
    assert len(found) <= MAX_PORTS
    assert all(0 < port < 65536 for port in found)


def test_ports_are_bounded() -> None:
    """A task that holds every port of its agent does not fill the memory."""
    assert ports([PortRange(-5, 2), PortRange(65535, 70000), PortRange(9, 3)]) == (1, 2, 65535)
    assert len(ports([PortRange(1, 65535), PortRange(1, 65535)])) == MAX_PORTS
    assert port_ranges("[31000-31001, 31005-31005]") == [PortRange(31000, 31001), PortRange(31005, 31005)]


@pytest.mark.parametrize(
    ("pid", "expected"),
    [
        ("slave(1)@10.0.0.7:5051", ("slave(1)", "10.0.0.7", 5051)),
        ("master@[::1]:5050", ("master", "::1", 5050)),
        ("nothing", ("", "", 0)),
        ("a@b", ("", "", 0)),
        ("a@b:c", ("", "", 0)),
        ("a@b:999999", ("", "", 0)),
        ("a@b:65536", ("", "", 0)),
    ],
)
def test_a_pid_gives_an_address(pid: str, expected: tuple[str, str, int]) -> None:
    """A libprocess pid is read, and anything else is no address."""
    assert address(pid) == expected


def test_an_agent_tells_the_container_of_an_executor() -> None:
    """By ``container``, else by the sandbox's last folder; a framework or executor it does not run gives nothing."""
    body = mesos("agent-state-0.27.0.json")
    framework = "b3bd182c-c6d7-463e-8bf0-06cd5807df4e-0001"
    assert container_of(body, framework, "server-0_10a_executor") == "6ce1f063-3838-49b9-b6aa-428127094507"
    assert container_of(body, framework, "other") == ""
    assert container_of(body, "other", "server-0_10a_executor") == ""
    for name in mesos_names("agent-state-"):
        assert container_of(mesos(name), "none", "none") == ""

    def told(directory: str) -> bytes:
        return msgspec.json.encode({"frameworks": [{"id": "f", "executors": [{"id": "e", "directory": directory}]}]})

    assert container_of(told("/w/slaves/s/frameworks/f/executors/e/runs/c-1"), "f", "e") == "c-1"
    assert container_of(told("/elsewhere"), "f", "e") == ""
    with pytest.raises(BadUpstream):
        container_of(b"<html>", "f", "e")


def test_too_many_parents_are_cut() -> None:
    """A container nested a thousand times does not make a thousand parents."""
    nested: dict[str, object] = {"value": "deep"}
    for _ in range(100):
        nested = {"value": "x", "parent": nested}
    status = {"task_id": {"value": "t"}, "state": "TASK_RUNNING", "container_status": {"container_id": nested}}
    event: MesosEvent | None = decode_event(
        json.dumps({"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": "f"}, "status": status}}).encode()
    )
    assert isinstance(event, TaskUpdated)
    assert len(event.parents) == 32
