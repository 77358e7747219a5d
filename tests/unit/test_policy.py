"""The first rule that matches decides, nothing matching is a no, and nobody else makes an ExecSpec."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.policy import ALLOW_GROUPS_LABEL, LABEL_CAPABILITIES, Policy, Rule, environment
from octopus.core.types import (
    CAPABILITIES,
    TRANSFERS,
    Allow,
    ContainerClue,
    Deny,
    EngineAddress,
    ExecSpec,
    FileRights,
    Identity,
    Obligations,
    Pty,
    RequestKind,
    SessionRequest,
    Target,
    TermSize,
)

DOWNLOAD, UPLOAD = frozenset({RequestKind.DOWNLOAD}), frozenset({RequestKind.UPLOAD})
ALICE = Identity(login="alice", groups=frozenset({"logging-dev", "dev"}), method="password")
SHELL = SessionRequest(kind=RequestKind.SHELL)
PTY = Pty(term="xterm-256color", size=TermSize(cols=80, rows=24))


def a_rule(**changes: Any) -> Rule:
    """Return a rule that lets group dev do everything below /logging, but for ``changes``."""
    return dataclasses.replace(Rule(groups=frozenset({"dev"}), apps=("/logging/**",), allow=CAPABILITIES), **changes)


def a_target(app: str = "/logging/logstash", **labels: str) -> Target:
    """Return a target of ``app`` with Marathon ``labels``."""
    return Target(app=app, task="t", agent="a", engine=EngineAddress(url="unix:///x"), clue=ContainerClue(), labels=labels)


def test_without_rules_everything_is_denied() -> None:
    """The default is no, to everybody and everywhere, and nothing is seen."""
    policy = Policy([])
    assert policy.decide(ALICE, a_target(), SHELL, "t") == Deny(rule="")
    assert not policy.may_see(ALICE, "/logging/logstash", {})


def test_a_matching_rule_makes_the_spec() -> None:
    """What the rule says goes into the spec and the obligations, what the client asked comes along."""
    rule = a_rule(run_as="app:app", record_input=True, idle_timeout=60.0, max_sessions=2, keep_background=True)
    request = SessionRequest(kind=RequestKind.EXEC, command="id; ls", pty=PTY, env={"LC_TIME": "C", "PATH": "/evil"})
    assert Policy([rule]).decide(ALICE, a_target(), request, "token") == Allow(
        spec=ExecSpec(
            command="id; ls",
            pty=PTY,
            env={"LANG": "C.UTF-8", "LC_TIME": "C", "TERM": "xterm-256color"},
            user="app:app",
            token="token",
            keep_background=True,
        ),
        rule="policy[0]",
        obligations=Obligations(record_input=True, idle_timeout=60.0, max_sessions=2),
    )


def test_the_first_match_decides_even_when_it_denies() -> None:
    """A later, wider rule does not repair an earlier no; rules that do not match are passed over."""
    other_people, other_apps = a_rule(groups=frozenset({"ops"})), a_rule(apps=("/db/**",))
    policy = Policy([other_people, other_apps, a_rule(allow=frozenset({RequestKind.LOGS})), a_rule()])
    assert policy.decide(ALICE, a_target(), SHELL, "t") == Deny(rule="policy[2]")
    assert policy.may_see(ALICE, "/logging/logstash", {})


def test_a_rule_without_capabilities_hides_the_app() -> None:
    """An empty ``allow`` denies and shows nothing, label or not."""
    policy = Policy([a_rule(allow=frozenset())], labels=True)
    labelled = a_target(**{ALLOW_GROUPS_LABEL: "dev"})
    assert policy.decide(ALICE, labelled, SHELL, "t") == Deny(rule="policy[0]")
    assert not policy.may_see(ALICE, labelled.app, labelled.labels)


def test_people_are_named_by_group_or_login() -> None:
    """Either suffices; a part of a name is not the name."""
    bob = Identity(login="bob", groups=frozenset({"devs", "de"}), method="password")
    assert isinstance(Policy([a_rule()]).decide(bob, a_target(), SHELL, "t"), Deny)
    by_login = a_rule(groups=frozenset(), users=frozenset({"bob"}))
    assert isinstance(Policy([by_login]).decide(bob, a_target(), SHELL, "t"), Allow)
    assert isinstance(Policy([by_login]).decide(ALICE, a_target(), SHELL, "t"), Deny)


def test_case_does_not_hide_a_person_from_a_rule() -> None:
    """A rule that denies Contractors is not passed by because the directory writes contractors."""
    mallory = Identity(login="Mallory", groups=frozenset({"contractors", "dev"}), method="password")
    for denied in (a_rule(groups=frozenset({"Contractors"}), allow=frozenset()), a_rule(users=frozenset({"mallory"}), allow=frozenset())):
        assert Policy([denied, a_rule()]).decide(mallory, a_target(), SHELL, "t") == Deny(rule="policy[0]")
    assert Policy([], labels=True).may_see(mallory, "/a", {ALLOW_GROUPS_LABEL: "DEV"})


@pytest.mark.parametrize("labels", [True, False])
def test_an_app_that_is_not_known_matches_nothing(labels: bool) -> None:
    """A task whose app Marathon has not confirmed is nobody's, whatever its labels say."""
    policy = Policy([a_rule(apps=("/**",))], labels=labels)
    assert policy.decide(ALICE, a_target("", **{ALLOW_GROUPS_LABEL: "dev"}), SHELL, "t") == Deny(rule="")


@pytest.mark.parametrize("kind", sorted(CAPABILITIES))
def test_each_capability_is_given_by_its_own_word(kind: RequestKind) -> None:
    """A rule that allows one kind allows that one and no other."""
    policy = Policy([a_rule(allow=frozenset({kind}))])
    for asked in CAPABILITIES:
        decision = policy.decide(ALICE, a_target(), SessionRequest(kind=asked, command="x"), "t")
        assert isinstance(decision, Allow) == (asked is kind)


@pytest.mark.parametrize("kind", sorted(TRANSFERS))
def test_transfers_come_with_what_they_may_do(kind: RequestKind) -> None:
    """Download or upload lets a transfer begin; which of them, and where, goes with it, and with nothing else."""
    for allow in (DOWNLOAD, UPLOAD, DOWNLOAD | UPLOAD):
        policy = Policy([a_rule(allow=allow, paths=("/tmp/**",), keep_files=1000)])
        decision = policy.decide(ALICE, a_target(), SessionRequest(kind=kind, command="scp -t x"), "t")
        assert isinstance(decision, Allow)
        rights = FileRights(download=allow >= DOWNLOAD, upload=allow >= UPLOAD, paths=("/tmp/**",), keep=1000)
        assert (decision.files, decision.spec.command) == (rights, None)
    others = Policy([a_rule(allow=CAPABILITIES - DOWNLOAD - UPLOAD)])
    assert others.decide(ALICE, a_target(), SessionRequest(kind=kind), "t") == Deny(rule="policy[0]")
    shell = others.decide(ALICE, a_target(), SHELL, "t")
    assert isinstance(shell, Allow)
    assert shell.files == FileRights()


def test_a_shell_is_not_had_through_an_empty_exec() -> None:
    """Exec without a command is denied, and only exec carries a command into the spec."""
    policy = Policy([a_rule()])
    assert policy.decide(ALICE, a_target(), SessionRequest(kind=RequestKind.EXEC), "t") == Deny(rule="policy[0]")
    decision = policy.decide(ALICE, a_target(), SessionRequest(kind=RequestKind.SHELL, command="id"), "t")
    assert isinstance(decision, Allow)
    assert decision.spec.command is None


def test_the_label_lets_groups_in_where_switched_on() -> None:
    """``OCTOPUS_ALLOW_GROUPS`` grants all but forwarding, after the rules, to members only."""
    target = a_target("/shop/web", **{ALLOW_GROUPS_LABEL: "ops, logging-dev ,"})
    policy = Policy([a_rule()], labels=True)
    for kind in CAPABILITIES:
        decision = policy.decide(ALICE, target, SessionRequest(kind=kind, command="x"), "t")
        assert decision.rule == "label"
        assert isinstance(decision, Allow) == (kind in LABEL_CAPABILITIES)
    assert RequestKind.FORWARD not in LABEL_CAPABILITIES
    assert policy.may_see(ALICE, target.app, target.labels)
    assert Policy([a_rule()]).decide(ALICE, target, SHELL, "t") == Deny(rule="")
    stranger = Identity(login="bob", groups=frozenset({"", "ops,"}), method="password")
    assert policy.decide(stranger, target, SHELL, "t") == Deny(rule="")
    assert not policy.may_see(ALICE, "/shop/web", {ALLOW_GROUPS_LABEL: ""})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"groups": frozenset()}, "people"),
        ({"groups": frozenset({""})}, "people"),
        ({"apps": ()}, "apps"),
        ({"apps": ("/a**",)}, "stands alone"),
        ({"run_as": "a b"}, "run_as"),
        ({"run_as": "a:"}, "run_as"),
        ({"idle_timeout": -1.0}, "0 or more"),
        ({"idle_timeout": float("nan")}, "0 or more"),
        ({"max_sessions": -1}, "0 or more"),
        ({"keep_files": -1}, "0 or more"),
        ({"allow": TRANSFERS}, "download and upload"),
        ({"paths": ("tmp",)}, "begins with"),
    ],
)
def test_a_rule_for_nobody_or_nothing_is_refused(changes: dict[str, Any], why: str) -> None:
    """Mistakes in a rule stop the start instead of denying, or allowing, in silence."""
    with pytest.raises(ValueError, match=why):
        a_rule(**changes)


@pytest.mark.parametrize(
    ("pty", "env", "result"),
    [
        (None, {}, {"LANG": "C.UTF-8"}),
        (None, {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}),
        (None, {"LANG": ""}, {"LANG": "C.UTF-8"}),
        (None, {"LANG": "a\x1b"}, {"LANG": "C.UTF-8"}),
        (None, {"LANG": "ä"}, {"LANG": "C.UTF-8"}),
        (None, {"LANG": "x" * 257}, {"LANG": "C.UTF-8"}),
        (None, {"LANGUAGE": "de", "LC_": "x", "LC_A=B": "x", "lc_all": "C", "LD_PRELOAD": "x"}, {"LANG": "C.UTF-8"}),
        (None, {"TERM": "vt100"}, {"LANG": "C.UTF-8", "TERM": "vt100"}),
        (None, {"TERM": "../x"}, {"LANG": "C.UTF-8"}),
        (PTY, {"TERM": "vt100"}, {"LANG": "C.UTF-8", "TERM": "xterm-256color"}),
        (Pty(term="", size=PTY.size), {}, {"LANG": "C.UTF-8", "TERM": "xterm"}),
        (Pty(term="x\n", size=PTY.size), {"TERM": "vt100"}, {"LANG": "C.UTF-8", "TERM": "xterm"}),
    ],
)
def test_only_language_and_terminal_pass(pty: Pty | None, env: dict[str, str], result: dict[str, str]) -> None:
    """LANG, LC_* and TERM with plain values, LANG always, TERM of the pty."""
    assert environment(SessionRequest(kind=RequestKind.SHELL, pty=pty, env=env)) == result


@given(st.dictionaries(st.one_of(st.text(), st.sampled_from(["LANG", "TERM"]), st.text("LC_AB", max_size=50)), st.text(), max_size=60))
def test_no_environment_of_a_client_gets_past_the_filter(env: dict[str, str]) -> None:
    """Whatever is sent, what passes is few, short and plain."""
    passed = environment(SessionRequest(kind=RequestKind.SHELL, env=env))
    assert len(passed) <= 34
    for name, value in passed.items():
        assert name in ("LANG", "TERM") or name.startswith("LC_")
        assert value.isascii()
        assert value.isprintable()


def test_loopback_ports_are_for_forwarding_under_a_rule_that_says_so() -> None:
    """Off unless said, never with another request, and a rule that says it without forwarding is refused."""
    request = SessionRequest(kind=RequestKind.FORWARD)
    allow = frozenset({RequestKind.FORWARD, RequestKind.SHELL})
    for said in (False, True):
        policy = Policy([a_rule(allow=allow, forward_localhost=said)])
        decision = policy.decide(ALICE, a_target(), request, "t")
        assert isinstance(decision, Allow)
        assert (decision.forward_localhost, decision.spec.command) == (said, None)
    shell = Policy([a_rule(allow=allow, forward_localhost=True)]).decide(ALICE, a_target(), SHELL, "t")
    assert isinstance(shell, Allow)
    assert not shell.forward_localhost
    with pytest.raises(ValueError, match='takes "forward"'):
        a_rule(forward_localhost=True, allow=frozenset({RequestKind.SHELL}))


def test_what_somebody_may_do_is_told_with_the_rule_that_says_so() -> None:
    """Also where the rule says no, and where none speaks of them."""
    policy = Policy([a_rule(apps=("/logging/secret",), allow=frozenset()), a_rule(allow=DOWNLOAD)])
    assert policy.rights(ALICE, "/logging/logstash", {}) == ("policy[1]", DOWNLOAD)
    assert policy.rights(ALICE, "/logging/secret", {}) == ("policy[0]", frozenset())
    assert policy.rights(ALICE, "/web", {}) == ("", frozenset())
