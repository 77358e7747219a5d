"""Marathon's events, of every age, as a history tells them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.marathon_events import HEARD, MOST_APPS, EventKind, MarathonEvent, is_kept, read_event
from octopus.fleet.history import EventHistory


def told(name: str, **data: Any) -> MarathonEvent:
    """Return an event that is told of."""
    event = read_event(name, json.dumps({"eventType": name, "timestamp": "2026-01-01T00:00:00.000Z", **data}).encode(), 7.0)
    assert event is not None
    return event


def test_a_task_that_failed() -> None:
    """App, task, host, state and message; 0.8 and 1.11 tell it alike."""
    event = told("status_update_event", appId="/a", taskId="a.1", taskStatus="TASK_FAILED", message="exit 1\x1b[31m", host="agent-1")
    assert event == MarathonEvent(
        time=7.0,
        kind=EventKind.FAILURE,
        name="status_update_event",
        apps=("/a",),
        task="a.1",
        host="agent-1",
        state="TASK_FAILED",
        detail="exit 1\\x1b[31m",
    )
    assert is_kept(event)
    assert not is_kept(told("status_update_event", appId="/a", taskStatus="TASK_RUNNING"))


@pytest.mark.parametrize(
    "steps",
    [
        [{"action": "ScaleApplication", "app": "/a"}, {"action": "RestartPod", "pod": "/b"}],
        [[{"action": "ScaleApplication", "app": "/a"}], [{"action": "x", "pod": "/b"}]],
        [{"actions": [{"type": "ScaleApplication", "app": "/a"}, {"action": "x", "pod": "/b"}, {"app": "/a"}]}],
        [{"actions": [{"app": "/a"}, 7, {"app": 7}, {}]}, {"actions": 7}, 7, {"actions": [{"pod": "/b"}]}],
    ],
)
def test_a_deployment_names_its_apps(steps: list[Any]) -> None:
    """In each form a plan has had; what has none is passed over."""
    event = told("deployment_success", id="d-1", plan={"id": "d-1", "steps": steps})
    assert (event.kind, event.apps, event.detail) == (EventKind.DEPLOYMENT, ("/a", "/b"), "d-1")
    assert told("deployment_step_failure", plan={"id": "d-2", "steps": []}).detail == "d-2"


def test_a_deployment_of_very_many_names_some() -> None:
    """A release of everything is one entry."""
    steps = [{"action": "x", "app": f"/a{number}"} for number in range(100)]
    assert len(told("deployment_success", plan={"id": "d", "steps": steps}).apps) == MOST_APPS


@pytest.mark.parametrize(
    ("name", "data", "state", "detail"),
    [
        ("health_status_changed_event", {"appId": "/a", "alive": False, "instanceId": "a.i"}, "unhealthy", ""),
        ("health_status_changed_event", {"appId": "/a", "alive": True, "taskId": "a.1"}, "healthy", ""),
        ("unhealthy_task_kill_event", {"appId": "/a", "reason": "500 Internal Server Error"}, "", "500 Internal Server Error"),
        ("group_change_failed", {"groupId": "/a", "reason": "no"}, "", "no"),
        (
            "api_post_event",
            {"clientIp": "10.0.0.1", "uri": "/v2/apps/a", "appDefinition": {"env": {"K": "secret"}}},
            "",
            "10.0.0.1 /v2/apps/a",
        ),
        ("scheduler_disconnected_event", {}, "", ""),
    ],
)
def test_what_else_is_told(name: str, data: dict[str, Any], state: str, detail: str) -> None:
    """Health, changes and who asked for them; of an app's definition nothing."""
    event = told(name, **data)
    assert (event.state, event.detail, is_kept(event)) == (state, detail, True)
    assert "secret" not in str(event)


def test_others_are_passed_over() -> None:
    """And checks of health that fail, again and again, are counted only."""
    assert read_event("instance_changed_event", b"{}", 7.0) is None
    assert not is_kept(told("failed_health_check_event", appId="/a"))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"<html>", b'{"id": 7}', b"\xff", b"[" * 100_000, b'{"plan": null}', b'{"plan": {"steps": {}}}']
)
def test_of_what_cannot_be_read_the_name_is_known(data: bytes) -> None:
    """Too long to keep, or not what it should be."""
    event = read_event("deployment_success", data, 7.0)
    assert event == MarathonEvent(time=7.0, kind=EventKind.DEPLOYMENT, name="deployment_success")


@given(
    st.sampled_from(sorted(HEARD)),
    st.binary() | st.recursive(st.none() | st.text(), lambda one: st.lists(one)).map(lambda x: json.dumps(x).encode()),
)
def test_no_data_is_an_error(name: str, data: bytes) -> None:
    """Whatever comes on the stream."""
    assert read_event(name, data, 7.0) is not None


def test_a_history_is_short_and_counts_all() -> None:
    """The last so many are kept; the numbers are of all, by name and by state."""
    history = EventHistory(lambda: 7.0, size=2)
    for number in range(5):
        history.hear("status_update_event", json.dumps({"appId": f"/a{number}", "taskStatus": "TASK_LOST"}).encode())
    for name in ("failed_health_check_event", "what_is_this", "status_update_event"):
        history.hear(name, b"{}")
    assert [event.apps for event in history.events] == [("/a3",), ("/a4",)]
    assert history.counts == {"status_update_event": 6, "failed_health_check_event": 1}
    assert history.failures == {"TASK_LOST": 5}
