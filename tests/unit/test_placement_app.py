"""Apps are read as Marathon reads them, and refused in its words, each with its place in the document."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from octopus.core.errors import InvalidDocument
from octopus.core.placement_app import App, parse_app
from octopus.core.placement_document import parse_apps
from octopus.core.placement_operators import Constraint, java_int, pattern
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts
from tests.wire_data import DATA

NEW, OLD = rules_of("1.8.222"), rules_of("0.8.2")


def app(marathon: str = "1.8.222", /, **fields: Any) -> App:
    """Read an app with these fields."""
    return parse_app({"id": "/a", **fields}, rules_of(marathon))


def faults(marathon: str = "1.8.222", /, **fields: Any) -> list[tuple[str, str]]:
    """Return what is wrong with an app with these fields."""
    with pytest.raises(InvalidDocument) as caught:
        app(marathon, **fields)
    assert caught.value.exit_status == 65
    return list(caught.value.faults)


def test_defaults_are_marathons() -> None:
    """One CPU, 128 MB, one instance, one random port even for apps that never asked, rolled with as many new as old."""
    found = app()
    assert (found.instances, found.needs, found.ports) == (1, Amounts(cpus=1000, mem=128_000), (0,))
    assert (found.minimum_health, found.maximum_over, found.roles, found.constraints) == (1.0, 1.0, (), ())


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"ports": []}, ()),
        ({"ports": [8080, 0]}, (0, 0)),
        ({"ports": [8080, 0], "requirePorts": True}, (8080, 0)),
        ({"portDefinitions": [{"port": 80}, {}], "requirePorts": True}, (80, 0)),
        ({"networks": [{"mode": "container"}]}, ()),
        ({"networks": [{"mode": "host"}]}, (0,)),
        ({"container": {"docker": {"network": "BRIDGE", "portMappings": [{"containerPort": 1}, {"hostPort": 80}]}}}, (0, 80)),
        ({"container": {"docker": {"network": "USER", "portMappings": [{"containerPort": 1}]}}}, ()),
        ({"container": {"docker": {"network": "USER"}}}, ()),
        ({"networks": [{"mode": "container/bridge"}], "container": {"portMappings": [{}, {"hostPort": 0}]}}, (0, 0)),
        ({"networks": [{"mode": "container"}], "container": {"portMappings": [{}, {"hostPort": 0}]}}, (0,)),
    ],
)
def test_host_ports(fields: dict[str, Any], wanted: tuple[int, ...]) -> None:
    """Mappings before ports; listed ports are only wished for unless required; a network of its own needs none."""
    assert app(**fields).ports == wanted


def test_declared_ports_are_wishes() -> None:
    """0.8 tries them first."""
    assert app(ports=[8080, 0]).declared == (8080, 0)
    assert app(ports=[8080], requirePorts=True).declared == ()


def test_persistent_volumes_are_disk_of_a_resident_app() -> None:
    """On the root disk they add up and make the app resident; others are said not to be simulated."""
    volumes: list[dict[str, Any]] = [
        {"persistent": {"size": 100}},
        {"persistent": {"type": "root", "size": 50}},
        {"persistent": {"type": "mount", "size": 9}},
        {"persistent": {"type": "odd", "size": 9}},
        {"external": {"name": "x"}},
        {"hostPath": "/x"},
    ]
    found = app(disk=10, container={"volumes": volumes}, acceptedResourceRoles=["web", "*"])
    assert found.needs.disk == 160_000
    assert (found.resident, found.roles, found.minimum_health, found.maximum_over) == (True, ("*",), 0.5, 0.0)
    assert found.unmodelled == ("a whole disk", "a volume", "an external volume")


def test_what_a_running_marathon_adds() -> None:
    """Version, when it last changed, whether a deployment is under way, labels."""
    found = app(version="v2", versionInfo={"lastConfigChangeAt": "v1"}, deployments=[{"id": "d"}], labels={"A": "b"})
    assert (found.version, found.configured, found.deploying, found.labels) == ("v2", "v1", True, {"A": "b"})


def test_a_single_instance_app_stops_first() -> None:
    """The label means 0 healthy and nothing over."""
    found = app(labels={"MARATHON_SINGLE_INSTANCE_APP": "true"})
    assert (found.minimum_health, found.maximum_over) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("field", "operator", "value", "wanted"),
    [
        ("hostname", "UNIQUE", "", True),
        ("@hostname", "UNIQUE", "", True),
        ("hostname", "MAX_PER", "1", True),
        ("hostname", "MAX_PER", "2", False),
        ("rack", "UNIQUE", "", False),
        ("hostname", "LIKE", "x", False),
    ],
)
def test_apps_of_one_on_each_host(field: str, operator: str, value: str, wanted: bool) -> None:
    """UNIQUE on the host name, or MAX_PER 1."""
    assert App(id="/a", constraints=(Constraint(field, operator, value),)).unique_host is wanted


@pytest.mark.parametrize(
    ("version", "constraint", "fault"),
    [
        ("1.8.222", ["hostname", "UNIQ"], "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS"),
        (
            "1.4.0",
            ["hostname", "UNIQ"],
            "Constraint operator must be one of the following: [UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE]",
        ),
        (
            "1.4.0",
            ["hostname", "unique"],
            "Constraint operator must be one of the following: [UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE]",
        ),
        (
            "1.1.0",
            ["hostname", "MAX_PER", "1"],
            "Constraint operator must be one of the following: [UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE]",
        ),
        ("1.8.222", ["hostname"], "Each constraint must have either 2 or 3 fields"),
        ("1.8.222", ["hostname", "LIKE", 5], "Each constraint must have either 2 or 3 fields"),
        ("1.8.222", "hostname", "Each constraint must have either 2 or 3 fields"),
        ("0.8.2", ["a", "b", "c", "d"], "Constraint definition must be an array of strings in format: <key>, <operator>[, value]"),
        ("1.8.222", ["", "UNIQUE"], "illegal constraint specification"),
        ("1.8.222", ["hostname", "UNIQUE", ""], "UNIQUE does not accept a value"),
        ("1.8.222", ["hostname", "UNIQUE", "x"], "UNIQUE does not accept a value"),
        ("1.4.0", ["hostname", "UNIQUE", "x"], "Value specified but not used"),
        ("1.4.0", ["hostname", "CLUSTER"], "Missing value"),
        ("1.8.222", ["rack", "GROUP_BY", "x"], "GROUP BY must define an integer value or else no value at all"),
        ("1.4.0", ["rack", "GROUP_BY", "99999999999"], "Value was specified but is not a number"),
        ("1.8.222", ["rack", "MAX_PER"], "MAX_PER requires an integer value"),
        ("1.4.0", ["rack", "MAX_PER", "x"], "Value was specified but is not a number"),
        ("1.8.222", ["rack", "LIKE"], "LIKE and UNLIKE require a non-empty, regular expression value"),
        ("1.4.0", ["rack", "UNLIKE"], "A regular expression value must be provided"),
        ("1.8.222", ["rack", "UNLIKE", "("], "is not a valid regular expression"),
        ("1.4.0", ["rack", "LIKE", "*"], "'*' is not a valid regular expression"),
        ("1.8.222", ["rack", "IS", "{a}"], "IS only supports Mesos text and float values"),
    ],
)
def test_constraints_that_marathon_refuses(version: str, constraint: object, fault: str) -> None:
    """In the words of that version, at the place in the list."""
    assert faults(version, constraints=[["hostname", "GROUP_BY"], constraint]) == [("/constraints(1)", fault)]


@pytest.mark.parametrize(
    ("version", "constraint"),
    [
        ("0.8.2", ["hostname", "unique"]),
        ("0.8.2", ["hostname", "UNIQUE", ""]),
        ("0.8.2", ["rack", "LIKE"]),
        ("0.11.1", ["rack", "GROUP_BY", "x"]),
        ("1.4.0", ["hostname", "UNIQUE", ""]),
        ("1.8.222", ["hostname", "unique"]),
        ("1.8.222", ["rack", "CLUSTER"]),
        ("1.4.0", ["rack", "CLUSTER", "r1"]),
        ("1.8.222", ["rack", "MAX_PER", "3"]),
        ("1.8.222", ["rack", "LIKE", "r[12]"]),
        ("1.8.222", ["rack", "IS", "r1"]),
    ],
)
def test_constraints_that_marathon_takes(version: str, constraint: list[str]) -> None:
    """Old versions took more."""
    [found] = app(version, constraints=[constraint]).constraints
    assert found.operator == constraint[1].upper()
    assert str(found).startswith(constraint[0])


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"cpus": "0.5"}, [("/cpus", "error.expected.jsnumber")]),
        ({"mem": -1}, [("/mem", "error.min")]),
        ({"disk": True}, [("/disk", "error.expected.jsnumber")]),
        ({"gpus": 1.5}, [("/gpus", "error.expected.int")]),
        ({"instances": 1e300}, [("/instances", "error.max")]),
        ({"instances": []}, [("/instances", "error.expected.jsnumber")]),
        ({"ports": [80, "x", 65536]}, [("/ports(1)", "error.expected.jsnumber"), ("/ports(2)", "error.max")]),
        ({"ports": [80, 80]}, [("/ports", "Ports must be unique.")]),
        ({"portDefinitions": [{"port": 80}, {"port": 80}]}, [("/portDefinitions", "Ports must be unique.")]),
        ({"portDefinitions": [5]}, [("/portDefinitions(0)", "error.expected.jsobject")]),
        ({"requirePorts": "yes"}, [("/requirePorts", "error.expected.jsboolean")]),
        ({"constraints": {}}, [("/constraints", "error.expected.jsarray")]),
        ({"container": 5}, [("/container", "error.expected.jsobject")]),
        ({"labels": {"a": 5}}, [("/labels", "error.expected.jsobject")]),
        ({"version": 5}, [("/version", "error.expected.jsstring")]),
        ({"acceptedResourceRoles": [5]}, [("/acceptedResourceRoles", "error.expected.jsstring")]),
        ({"upgradeStrategy": {"minimumHealthCapacity": 2}}, [("/upgradeStrategy/minimumHealthCapacity", "error.max")]),
        ({"gpus": 1, "container": {"type": "DOCKER"}}, [("", "GPU resources only work with the Mesos containerizer")]),
        (
            {"instances": 2, "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}},
            [("", "Single instance app may only have one instance")],
        ),
        (
            {"residency": {}, "upgradeStrategy": {"maximumOverCapacity": 0.5}},
            [("/upgradeStrategy/maximumOverCapacity", "got 0.5, expected 0.0")],
        ),
    ],
)
def test_values_that_marathon_refuses(fields: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    """Negative, absurd, of another type: told with the path, all at once."""
    assert faults(**fields) == wanted


def test_roles_that_marathon_refuses() -> None:
    """Before 1.5 an empty list, from 1.10 on a role that is not its own."""
    assert faults("1.4.0", acceptedResourceRoles=[]) == [("/acceptedResourceRoles", "must not be empty")]
    assert faults("1.10.5", acceptedResourceRoles=["x"]) == [("/acceptedResourceRoles", "acceptedResourceRoles can only contain * and *")]
    assert app("1.9.100", acceptedResourceRoles=["x"]).roles == ("x",)
    assert app("1.8.222", acceptedResourceRoles=[]).roles == ()


def test_old_marathons_know_no_gpus() -> None:
    """Before 1.3 the field says nothing."""
    assert app("1.1.0", gpus=2).needs.gpus == 0
    assert app("1.3.0", gpus=2).needs.gpus == 2000


def test_an_app_needs_an_id() -> None:
    """And a document that is no app is told once."""
    with pytest.raises(InvalidDocument, match=r"/id: error\.path\.missing"):
        parse_app({}, NEW)
    with pytest.raises(InvalidDocument) as caught:
        parse_app(5, NEW)
    assert caught.value.faults == (("", "error.expected.jsobject"),)


def test_documents_of_several_apps() -> None:
    """A list, or groups within groups, whose ids may be relative to them."""
    a, b, c = ({"id": name, "cmd": "x"} for name in ("/prod/a", "b", "c"))
    group = {"id": "/prod", "apps": [a, b], "groups": [{"id": "db", "apps": [c]}, {"apps": []}]}
    assert [found.id for found in parse_apps(json.dumps(group).encode(), NEW)] == ["/prod/a", "/prod/b", "/prod/db/c"]
    assert [found.id for found in parse_apps(b'[{"id":"a","cmd":"x"},{"id":"/b","args":["y"]}]', NEW)] == ["/a", "/b"]
    assert [found.id for found in parse_apps(b'{"id":"/a/x-1.y","container":{}}', NEW)] == ["/a/x-1.y"]


@pytest.mark.parametrize("name", ["/My_App", "/a/-b", "/a b", "/<b>", "a_b", "/a/b."])
def test_an_id_is_marathons(name: str) -> None:
    """What it would refuse is refused before a release, in its words."""
    with pytest.raises(InvalidDocument, match=r"/id: must fully match regular expression '\^\(\(\[a-z0-9\]"):
        parse_apps(json.dumps({"id": name, "cmd": "x"}).encode(), NEW)


@pytest.mark.parametrize("more", [{}, {"cmd": "x", "args": ["y"]}, {"args": []}])
def test_a_new_app_has_something_to_run(more: dict[str, object]) -> None:
    """A command or arguments, and not both, or a container."""
    with pytest.raises(InvalidDocument, match="AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'"):
        parse_apps(json.dumps({"id": "/a", **more}).encode(), NEW)


def test_a_document_changes_what_it_names_of_an_app_that_is_known() -> None:
    """As a PUT to /v2/apps does; in a group each app stands whole."""
    known = parse_app(
        {"id": "/a", "cpus": 3, "mem": 5, "disk": 7, "instances": 4, "ports": [80, 81], "constraints": [["hostname", "UNIQUE"]]}, NEW
    )

    def put(document: object) -> App:
        [app] = parse_apps(json.dumps(document).encode(), NEW, {"/a": known})
        return app

    assert put({"id": "/a"}) == known
    assert put({"id": "a", "instances": 5}) == msgspec.structs.replace(known, instances=5)
    more = put({"id": "/a", "mem": 9, "constraints": [], "portDefinitions": [{"port": 0}]})
    assert (more.needs.cpus, more.needs.mem, more.needs.disk, more.instances) == (3000, 9000, 7000, 4)
    assert (more.constraints, more.ports) == ((), (0,))
    assert put({"apps": [{"id": "/a", "cmd": "x"}]}).needs.cpus == 1000


def test_a_document_names_disk_and_volumes_apart() -> None:
    """An app's own disk and its persistent volumes are two fields, whichever of them a document changes."""

    def container(size: int) -> dict[str, object]:
        return {"volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": size}}]}

    known = parse_app({"id": "/a", "disk": 7, "container": container(100)}, NEW)
    for document, disk in (({"disk": 1}, 101), ({"container": container(50)}, 57), ({"disk": 1, "container": container(0)}, 1), ({}, 107)):
        [app] = parse_apps(json.dumps({"id": "/a", **document}).encode(), NEW, {"/a": known})
        assert app.needs.disk == disk * 1000


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", "Invalid JSON"),
        (b"<html>", "Invalid JSON"),
        (b'{"id":"/a","cpus":NaN}', "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"[]", "/: holds no app"),
        (b"5", "error.expected.jsobject"),
        (b'[{"id":"/a"},{"id":"a"}]', "/a: An app with this id is there twice"),
        (b"[" * 40 + b'{"id":"/a"}' + b"]" * 40, "more than 32 groups in each other"),
        (
            b'{"apps":[{"id":"/a","cpus":-1}],"groups":[{"apps":[{"id":"/b","mem":"x"}]}]}',
            "/apps(0)/cpus: error.min; /groups(0)/apps(0)/mem",
        ),
    ],
)
def test_documents_that_are_none(body: bytes, wanted: str) -> None:
    """Each fault with its path, through groups and lists."""
    with pytest.raises(InvalidDocument) as caught:
        parse_apps(body, NEW)
    assert wanted in str(caught.value)


def test_apps_as_marathons_answer_them() -> None:
    """What /v2/apps lists is read as it stands."""
    old = json.loads((DATA / "marathon" / "apps-0.x.json").read_bytes())["apps"]
    new = json.loads((DATA / "marathon" / "apps-1.5.json").read_bytes())["apps"]
    assert [parse_app(each, OLD).ports for each in old] == [(0, 0)]
    [nginx] = [parse_app(each, rules_of("1.5.0")) for each in new]
    assert (nginx.id, nginx.needs.cpus, nginx.ports, nginx.roles) == ("/nginx-green", 100, (0,), ("*", "slave_public"))


@pytest.mark.parametrize(
    ("text", "wanted"), [("5", 5), ("-3", -3), ("+7", 7), ("2147483648", None), ("1.0", None), ("", None), ("٣", None)]
)
def test_javas_whole_numbers(text: str, wanted: int | None) -> None:
    """What ``toInt`` reads."""
    assert java_int(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        ".*.*.*.*.*!",
        "a?" * 30 + "a" * 30,
        "(a|aa)" * 30,
        "(?:a|ab)?" * 20,
        "(.*){7}!",
        "(?x)( a + ) + !",
        "(?x)(a|ab) {2,9} (a|ab) {2,9}",
        "(((((a|b?){9}){9}){9}){9}){9}",
        "(x)(?(1)a+|b)",
        "(?:(x)(?(1)a|b)|c)",
        "(?:(x)(?(1)a|b)){2}",
    ],
)
def test_patterns_that_could_be_tried_in_very_many_ways(text: str) -> None:
    """None of them fits a long name soon: the others of the process would wait for minutes, or for ever."""
    assert pattern(text) is None


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (".*\\.rack[0-9]+\\.(eu|us)-.*", "a.rack12.eu-west"),
        ("agent-(1|2|3|17)\\.example", "agent-17.example"),
        ("|".join(f"host{number}" for number in range(100)), "host99"),
        ("(?:ab){2}c?(?=.)(?!x).*", "ababcd"),
        ("(?:[a-z]{1,20}-){2}[0-9]{3}", "us-east-001"),
        ("(a|b){1,3}", "aba"),
        ("(ab?){3}", "aaba"),
        ("(?i:RACK)[0-9]??", "rack1"),
    ],
)
def test_patterns_that_people_write(text: str, fits: str) -> None:
    """They are evaluated, however many names they list."""
    found = pattern(text)
    assert found is not None
    assert found.fullmatch(fits)


def test_groups_that_give_nothing_back() -> None:
    """As Java has them."""
    found = pattern("(?>ab|a)c[x-z]*+")
    assert found is not None
    assert found.fullmatch("abcxyz")


@pytest.mark.parametrize(
    "text", ["(a+)+", "(a|a)*b", "(", "x" * 1001, "a*" * 9, "(a){2,}", "(a){1,50}", "[", "(?P<n>x)(?P<n>y)", "a{99999999999}"]
)
def test_patterns_that_are_not_evaluated(text: str) -> None:
    """What Python cannot read, or could take for ever over, is refused rather than tried."""
    assert pattern(text) is None


def test_patterns_match_whole_values() -> None:
    """As Java's String.matches does."""
    found = pattern("rack-[0-3]")
    assert found is not None
    assert found.fullmatch("rack-3")
    assert not found.fullmatch("rack-33")
