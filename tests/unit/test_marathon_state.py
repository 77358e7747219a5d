"""What Marathons of every version say is read into one snapshot."""

from __future__ import annotations

import json

import pytest

from octopus.core.errors import BadUpstream
from octopus.core.inventory import Agent, MarathonTask
from octopus.core.marathon_state import decode_marathon
from octopus.core.placement_document import parse_apps
from octopus.core.placement_fit import Fit
from octopus.core.placement_offers import offers
from octopus.core.resources import Amounts
from tests.wire_data import DATA

NOTHING = b'{"apps":[]}', b'{"tasks":[]}'


def _recorded(name: str) -> bytes:
    return (DATA / "marathon" / name).read_bytes()


def test_tasks_tell_their_app_and_agent() -> None:
    """``appId`` and ``slaveId`` of each task are kept; the id's own prefix plays no part."""
    snapshot = decode_marathon(b'{"apps":[]}', _recorded("tasks-1.9.json"), info=b'{"frameworkId":"fw-1"}')
    assert snapshot.tasks["tools_docker_registry.002b4d28-46b9-11e5-b731-525400cce7ed"] == MarathonTask(
        "/tools/docker/registry", "1cc9e7d0-63d6-4e99-9c58-c0b950401ae2-S24", "2015-08-19T21:26:47.616Z", "srv2.example.com", "TASK_RUNNING"
    )
    assert len(snapshot.tasks) == 2
    assert snapshot.framework == "fw-1"


@pytest.mark.parametrize(("name", "app", "labels"), [("apps-0.x.json", "/bridged-webapp", 0), ("apps-1.5.json", "/nginx-green", 8)])
def test_apps_tell_their_labels(name: str, app: str, labels: int) -> None:
    """An app without labels (0.x) has none; one with has them all."""
    snapshot = decode_marathon(_recorded(name), b'{"tasks":[]}')
    assert list(snapshot.labels) == [app]
    assert len(snapshot.labels[app]) == labels
    assert snapshot.framework == ""


def test_pods_are_apps_too() -> None:
    """A pod's containers are tasks of the pod, with the labels of its spec; one that has not started yet is none."""
    pod = {
        "id": "/ops/pod",
        "spec": {"id": "/ops/pod", "labels": {"OWNER": "ops"}},
        "instances": [{"agentId": "S1", "containers": [{"containerId": "ops_pod.instance-1.main"}, {"name": "soon"}]}],
    }
    snapshot = decode_marathon(*NOTHING, pods=json.dumps([pod, {"id": "/bare"}]).encode())
    assert snapshot.tasks == {"ops_pod.instance-1.main": MarathonTask("/ops/pod", "S1")}
    assert snapshot.labels == {"/ops/pod": {"OWNER": "ops"}, "/bare": {}}


def test_a_bad_entry_is_skipped_and_counted() -> None:
    """A task of another shape, or an app whose labels are no labels, costs only itself."""
    snapshot = decode_marathon(
        b'{"apps":[{"id":"/a"},{"id":"/b","labels":{"x":1}},5]}', b'{"tasks":[{"id":"a.1","appId":"/a","slaveId":null},{"id":"b.1"}]}'
    )
    assert snapshot.tasks == {"a.1": MarathonTask("/a")}
    assert snapshot.labels == {"/a": {}}
    assert snapshot.skipped == 3


@pytest.mark.parametrize("bad", [b"", b"<html>", b'{"message":"x"}', b'{"apps":[', b"[]"])
def test_what_is_no_answer_is_refused(bad: bytes) -> None:
    """Each of the answers must be what it should, or nothing is read."""
    with pytest.raises(BadUpstream):
        decode_marathon(bad, b'{"tasks":[]}')
    with pytest.raises(BadUpstream):
        decode_marathon(b'{"apps":[]}', bad)


def test_what_apps_ask_for_is_read_by_the_rules_of_that_marathon() -> None:
    """Version, role and features from /v2/info; an app that cannot be read is left out, the others are there."""
    info = b'{"version":"1.4.3","marathon_config":{"mesos_role":"web","features":["gpu_resources"],"maintenance_mode":null}}'
    apps = b'{"apps":[{"id":"/a","cpus":0.5,"constraints":[["hostname","UNIQUE"]]},{"id":"/b","cpus":"x"}]}'
    snapshot = decode_marathon(apps, b'{"tasks":[]}', info=info)
    assert (snapshot.rules.version, snapshot.rules.role, snapshot.rules.features) == ((1, 4, 3), "web", frozenset({"gpu_resources"}))
    assert list(snapshot.apps) == ["/a"]
    assert snapshot.apps["/a"].unique_host
    assert list(snapshot.labels) == ["/a", "/b"]


def test_an_app_has_a_role_of_its_own_since_1_9() -> None:
    """It gets what nobody reserved and what is kept for its role, and nothing of what is kept for the framework's."""
    own = {"id": "/dev/a", "role": "dev", "acceptedResourceRoles": ["dev"], "cpus": 1, "mem": 0, "ports": []}
    apps = json.dumps({"apps": [own, {**own, "id": "/dev/b", "acceptedResourceRoles": None}, {**own, "id": "/c", "role": "web"}]}).encode()
    info = json.dumps({"version": "1.10.5", "marathon_config": {"mesos_role": "web"}}).encode()
    told = decode_marathon(apps, b'{"tasks":[]}', info=info)
    assert told.unread == {"/c": "acceptedResourceRoles: acceptedResourceRoles can only contain * and web"}
    assert told.rules.visible_roles == {"*", "web", "dev"}
    kept = {"dev": Amounts(2000), "web": Amounts(4000), "db": Amounts(8000)}
    agent = Agent("S1", "h", total=Amounts(15_000, 64_000), reserved=kept, reserved_used={})
    [offer] = offers([agent], [], told.rules)
    assert [Fit(told.apps[name], told.rules).room(offer) for name in ("/dev/a", "/dev/b")] == [2, 3]
    [changed] = parse_apps(b'{"id": "/dev/b", "cpus": 0.5}', told.rules, told.apps)
    assert Fit(changed, told.rules).room(offer) == 6
    before = decode_marathon(apps, b'{"tasks":[]}', info=info.replace(b"1.10.5", b"1.8.222"))
    assert before.rules.visible_roles == {"*", "web"}


def test_roles_of_apps_that_name_none_are_as_configured() -> None:
    """Marathon does not tell its default: with "*" nothing reserved is for such an app, and one that asks gets what it asks for."""
    info = json.dumps({"version": "1.7.174", "marathon_config": {"mesos_role": "slave_public"}}).encode()
    plain = {"id": "/a", "cpus": 1, "mem": 0, "ports": []}
    apps = json.dumps({"apps": [plain, {**plain, "id": "/b", "acceptedResourceRoles": ["slave_public"]}]}).encode()
    public = Agent("S1", "h", total=Amounts(4000, 64_000), reserved={"slave_public": Amounts(4000, 64_000)}, reserved_used={})
    for default, wanted in ((), [4, 4]), (("*",), [0, 4]):
        told = decode_marathon(apps, b'{"tasks":[]}', info=info, default_roles=default)
        [offer] = offers([public], [], told.rules)
        assert [Fit(told.apps[name], told.rules).room(offer) for name in ("/a", "/b")] == wanted


def test_of_an_app_that_cannot_be_read_it_is_kept_why() -> None:
    """Path and fault, of a constraint how it reads, and no more than a few; what has no id is nobody's."""
    constraints = [["rack", "LIKE", "r1"], ["rack", "LIKE", "a["]]
    many = {"id": "/many", "constraints": [["x", "NO"]] * 7}
    apps = [{"id": "/bad", "constraints": constraints, "cpus": "x"}, many, {"id": "/odd", "constraints": "no"}, {"cpus": "x"}, 5]
    snapshot = decode_marathon(json.dumps({"apps": apps}).encode(), b'{"tasks":[]}', info=b'{"version":"1.8.0"}')
    assert snapshot.apps == {}
    assert sorted(snapshot.unread) == ["/bad", "/many", "/odd"]
    assert 'constraints(1) ["rack","LIKE","a["]: is not a valid regular expression' in snapshot.unread["/bad"].split("; ")
    assert "cpus: error.expected.jsnumber" in snapshot.unread["/bad"].split("; ")
    assert snapshot.unread["/many"].count("constraints(") == 5
    assert snapshot.unread["/odd"] == "constraints: error.expected.jsarray"


def test_an_app_of_bytes_that_are_no_text_costs_only_itself() -> None:
    """As Marathon never sends it."""
    snapshot = decode_marathon(b'{"apps":[{"id":"/a","cmd":"\xff"},{"id":"/b","cpus":1}]}', b'{"tasks":[]}')
    assert (list(snapshot.apps), snapshot.unread) == (["/b"], {})
