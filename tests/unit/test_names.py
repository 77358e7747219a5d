"""SSH user names are read by one grammar, and what does not fit it is refused in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.errors import InvalidTarget
from octopus.core.names import MAX_NAME, is_login, normalised, parse_target, parse_user_name
from octopus.core.types import TargetName, UserName

BODIES = [
    "logging_logstash.3f9c7a5e-8a11-11e5-9c5b-56847afe9799",
    "logging_logstash.instance-3f9c7a5e-8a11-11e5-9c5b-56847afe9799._app.1",
    "grp_pod.instance-3f9c7a5e-8a11-11e5-9c5b-56847afe9799.web.2",
    "logging_logstash.3f9c",
    "logging_logstash.",
    "logging_logstash",
    "logging.logstash",
    "/logging/logstash",
    "logging/logstash",
    "ct:1427914680000:0:nightly job:a b",
    "0a1b2c3d4e5f",
    "a",
    "_a",
    "deep_" * 60 + "app.3f9c7a5e-8a11-11e5-9c5b-56847afe9799",
]
WRONG = [
    "+",
    "+logstash",
    "@",
    "@agent",
    "~1",
    "a~",
    "a~0",
    "a~01",
    "a~-1",
    "a~1234567",
    "a~all",
    "a~1~2",
    "a~1@b~any",
    "a@b@c",
    "a@",
    "a@-b",
    "a+b+c",
    "al ice+b",
    "-oProxyCommand=x",
    "-a+b",
    ".a",
    " a",
    "a ",
    "/",
    "a/",
    "//a",
    "a//b",
    "../etc/passwd",
    "a/../b",
    "a..b",
    "al*ce+b",
    "alice)(uid=*))+b",
    "a*",
    "(a)",
    "a\\b",
    "a&b",
    "a=b,c",
    "$(id)",
    "a;b",
    "a|b",
    "a'b",
    'a"b',
    "a`b",
    "a%b",
]


@pytest.mark.parametrize("body", BODIES)
def test_every_spelling_of_a_target_is_read_whole(body: str) -> None:
    """Apps, task ids of every Marathon, Chronos ids and container names keep their text."""
    assert parse_user_name(body) == UserName(target=TargetName(text=body, body=body))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a~2", TargetName(text="a~2", body="a", instance=2)),
        ("a~any", TargetName(text="a~any", body="a", any=True)),
        ("heka@agent-7", TargetName(text="heka@agent-7", body="heka", agent="agent-7")),
        ("heka~2@10.0.0.7", TargetName(text="heka~2@10.0.0.7", body="heka", instance=2, agent="10.0.0.7")),
        ("heka@agent~any", TargetName(text="heka@agent~any", body="heka", any=True, agent="agent")),
        ("heka@fd00::7", TargetName(text="heka@fd00::7", body="heka", agent="fd00::7")),
    ],
)
def test_suffixes_choose_an_instance(text: str, name: TargetName) -> None:
    """``~N``, ``~any`` and ``@agent`` are taken off the body, in either order."""
    assert parse_target(text) == name


def test_a_login_stands_in_front_of_a_plus() -> None:
    """``login+target`` says both; ``login+`` says no target."""
    target = TargetName(text="/logging/logstash~1", body="/logging/logstash", instance=1)
    assert parse_user_name("a.li-ce_1+/logging/logstash~1") == UserName(login="a.li-ce_1", target=target)
    assert parse_user_name("alice+") == UserName(login="alice", target=None)


@pytest.mark.parametrize("text", WRONG)
def test_what_the_grammar_does_not_know_is_refused(text: str) -> None:
    """Signs of shells, LDAP filters, paths upward and half suffixes are no names."""
    with pytest.raises(InvalidTarget, match="cannot read the name"):
        parse_user_name(text)


def test_an_empty_name_is_told_what_to_type() -> None:
    """Nothing at all is answered with the form of a name."""
    with pytest.raises(InvalidTarget) as refused:
        parse_user_name("")
    assert refused.value.notice == "a name is missing: ssh TASK@GATEWAY or ssh LOGIN+TASK@GATEWAY"


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("a\x1b[2Jb", r"cannot read the name 'a\x1b[2Jb': only printable ASCII is allowed"),
        ("a\nb", r"cannot read the name 'a\nb': only printable ASCII is allowed"),
        ("\u0430lice+x", r"cannot read the name '\u0430lice+x': only printable ASCII is allowed"),
        ("x" * 10_000, f"cannot read the name '{'x' * 40}...': it is longer than 512 characters"),
        ("+x", "cannot read the name '+x': in front of '+' stands a login: letters, digits, '.', '_', '-'"),
        ("a~1@b~2", "cannot read the name 'a~1@b~2': one '~' is enough"),
        ("a*", "cannot read the name 'a*': it is no app, task id or container, with '~N', '~any' or '@agent' behind it"),
    ],
)
def test_a_refusal_is_one_plain_line(text: str, notice: str) -> None:
    """The notice holds a short excerpt in ASCII that no terminal acts on, and the reason."""
    with pytest.raises(InvalidTarget) as refused:
        parse_user_name(text)
    assert (refused.value.notice, refused.value.exit_status) == (notice, 64)


def test_lengths_are_limited() -> None:
    """A login of 64 and a name of 512 characters are the longest."""
    assert is_login("a" * 64)
    assert not is_login("a" * 65)
    assert not is_login("")
    assert not is_login("a\n")
    assert parse_target("a" * MAX_NAME).body == "a" * MAX_NAME
    with pytest.raises(InvalidTarget):
        parse_target("a" * (MAX_NAME + 1))


@pytest.mark.parametrize("spelling", ["/logging/log.stash", "logging.log.stash", "logging_log_stash", "logging/log_stash"])
def test_spellings_of_an_app_compare_equal(spelling: str) -> None:
    """A path, dots and underlines are one app to the person who types."""
    assert normalised(spelling) == "logging_log_stash"


@given(st.text(max_size=600))
def test_any_text_is_read_or_refused_in_one_ascii_line(text: str) -> None:
    """No text raises anything but InvalidTarget, whose notice is short and printable."""
    notice = ""
    try:
        parse_user_name(text)
    except InvalidTarget as refused:
        notice = refused.notice
    assert len(notice) < 400
    assert notice == "" or notice.isprintable()


@given(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z"), st.from_regex(r"\A[a-z0-9_]+(\.[a-z0-9-]+)?\Z"), st.integers(1, 99))
def test_what_is_put_together_is_taken_apart_again(login: str, body: str, instance: int) -> None:
    """Login, body and instance come back as they were."""
    name = parse_user_name(f"{login}+{body}~{instance}")
    assert name == UserName(login=login, target=TargetName(text=f"{body}~{instance}", body=body, instance=instance))


@given(st.text(alphabet="ab+@~/.1-_ any\\*", max_size=40))
def test_whatever_is_read_holds_only_safe_signs(text: str) -> None:
    """A login and a body that were read can stand in a filter, a path or a log line."""
    try:
        name = parse_user_name(text)
    except InvalidTarget:
        return
    assert not name.login or is_login(name.login)
    if name.target is not None:
        assert name.target.body
        assert not set(name.target.body) & set("*()\\\0+@~")
        assert ".." not in name.target.body
