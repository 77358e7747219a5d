"""A task's app is what its scheduler says, or it is not confirmed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.inventory import MarathonSnapshot, MarathonTask, Task
from octopus.core.joining import app_in_mesos, guess_app, id_prefix, joined, possible_apps

UUID = "3f9c7a5e-8a11-11e5-9c5b-56847afe9799"
ELEMENT = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z0-9]{1,4})?", fullmatch=True)


def _task(task_id: str, name: str = "", framework: str = "fw-m", agent: str = "S1") -> Task:
    return Task(id=task_id, framework=framework, agent=agent, state="TASK_RUNNING", name=name, labels={"own": "label"})


@pytest.mark.parametrize(
    ("task_id", "prefix"),
    [
        (f"logging_logstash.{UUID}", "logging_logstash"),
        (f"grp_app.{UUID}.2", "grp_app"),
        (f"grp_pod.instance-{UUID}.container", "grp_pod"),
        (f"grp_app.instance-{UUID}._app.1", "grp_app"),
        (f"grp_pod.instance-{UUID}.container.12", "grp_pod"),
        (f"grp_app.instance-{UUID}", "grp_app"),
        (f"grp_app.marathon-{UUID}", "grp_app"),
        (f"www.example.{UUID}", "www.example"),
        ("ct:1427914680000:0:job:args", ""),
        ("plain", ""),
        ("", ""),
        (f"{'a' * 2000}.{UUID}", ""),
    ],
)
def test_the_apps_part_of_every_form_of_id(task_id: str, prefix: str) -> None:
    """All forms Marathon has made since 0.6, and none of other schedulers'."""
    assert id_prefix(task_id) == prefix
    assert guess_app(task_id) == ("/" + prefix.replace("_", "/") if prefix else "")


@given(st.lists(ELEMENT, min_size=1, max_size=4))
def test_without_a_marathon_name_and_id_prove_the_path(path: list[str]) -> None:
    """For every path Marathon allows, the reversed name and the id together give exactly that path."""
    task = _task(f"{'_'.join(path)}.{UUID}", name=".".join(reversed(path)))
    assert app_in_mesos(task, "marathon") == "/" + "/".join(path)


@given(st.lists(ELEMENT, min_size=1, max_size=3), st.lists(ELEMENT, min_size=1, max_size=3))
def test_no_app_can_pass_for_another(one: list[str], other: list[str]) -> None:
    """Two different paths never give the same app: one with a dot in it is not the one with a slash."""
    apps = {app_in_mesos(_task(f"{'_'.join(path)}.{UUID}", name=".".join(reversed(path))), "marathon") for path in (one, other)}
    assert len(apps) == len({tuple(one), tuple(other)})


@pytest.mark.parametrize(
    ("task_id", "name"),
    [(f"a_b.{UUID}", "a.b"), (f"a_b.{UUID}", "a_b"), ("noid", "noid"), (f"_a.{UUID}", "a."), (f"ops_pod.instance-{UUID}.main", "main")],
)
def test_where_name_and_id_disagree_nothing_is_proven(task_id: str, name: str) -> None:
    """Then the app is a guess at most and not confirmed."""
    task = joined(_task(task_id, name), "marathon", None)
    assert not task.confirmed
    assert task.app == guess_app(task_id)


def test_other_frameworks_cannot_take_a_marathon_apps_name() -> None:
    """Their tasks get an app of another form, whatever they are called."""
    task = joined(_task(f"logging_logstash.{UUID}", "logstash.logging"), "chronos", None)
    assert (task.app, task.confirmed, task.labels) == ("framework:chronos/logstash.logging", True, {"own": "label"})
    assert joined(_task("id"), "chronos", None).app == "framework:chronos/id"
    assert joined(_task("id", "x"), "chronos", MarathonSnapshot(framework="fw-other")).app == "framework:chronos/x"


def test_a_task_of_an_unknown_framework_is_not_confirmed() -> None:
    """Before its framework's name is known nothing says who launched a task."""
    assert not joined(_task(f"a.{UUID}", "a"), "", None).confirmed
    assert not joined(_task(f"a.{UUID}", "a"), "", MarathonSnapshot()).confirmed


def test_marathons_list_is_the_authority() -> None:
    """Where a Marathon is configured its word counts, and the task's own labels do not."""
    marathon = MarathonSnapshot(tasks={f"a_b.{UUID}": MarathonTask("/a_b", "S1")}, framework="fw-m")
    task = joined(_task(f"a_b.{UUID}", "b.a"), "services", marathon)
    assert (task.app, task.confirmed, task.labels) == ("/a_b", True, {})


@pytest.mark.parametrize(
    ("framework", "told", "marathon_framework"),
    [("fw-m", None, "fw-m"), ("fw-m", MarathonTask("/a/b", "S9"), "fw-m"), ("fw-x", MarathonTask("/a/b", "S1"), "fw-m")],
)
def test_what_marathon_does_not_confirm_is_a_guess(framework: str, told: MarathonTask | None, marathon_framework: str) -> None:
    """Not on its list, on another agent, or of another Marathon with the same id: nobody may enter."""
    marathon = MarathonSnapshot(tasks={f"a_b.{UUID}": told} if told else {}, framework=marathon_framework)
    task = joined(_task(f"a_b.{UUID}", "b.a", framework), "marathon-user", marathon)
    assert (task.app, task.confirmed) == ("/a/b", False)


def test_an_app_once_given_is_kept() -> None:
    """A container of a plain engine brings its own."""
    task = Task(id="c", framework="", agent="engine", state="TASK_RUNNING", app="web", confirmed=True)
    assert joined(task, "", None) is task


def test_what_somebody_may_have_meant() -> None:
    """Every spelling gives the app ids it could stand for."""
    assert "/logging/logstash" in possible_apps("logging_logstash")
    assert "/logging/logstash" in possible_apps("logging.logstash")
    assert "/logging/logstash" in possible_apps("/logging/logstash")
    assert "/logging/logstash" in possible_apps(f"logging_logstash.{UUID}")
    assert "web-1" in possible_apps("web-1")
