"""A log line is one line, holds no secret, and does nothing to a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from octopus import log
from octopus.log import HIDDEN, clean, configure


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give the process its logging back."""
    handlers, level, raising = logging.root.handlers, logging.root.level, logging.raiseExceptions
    yield
    logging.captureWarnings(capture=False)
    logging.root.handlers, logging.raiseExceptions = handlers, raising
    logging.root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    """A stream that is no terminal, with all lines going there."""
    stream = io.StringIO()
    configure(stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines that were written, decoded."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(text: str) -> None:
    """Raise an error that says ``text``."""
    raise ValueError(text)


def test_an_event_is_one_json_line_with_its_context(stream: io.StringIO) -> None:
    """Time, level and event come first; what the context holds is on the line."""
    with structlog.contextvars.bound_contextvars(session="s-1"):
        structlog.get_logger("octopus.test").info("started", seconds=1.5, ok=True, none=None)
    [line] = lines(stream)
    assert list(line)[:3] == ["time", "level", "event"]
    line.pop("time")
    expected = {"level": "info", "event": "started", "session": "s-1", "seconds": 1.5, "ok": True, "none": None, "logger": "octopus.test"}
    assert line == expected


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "bind_password",
        "PASSWD",
        "passphrase",
        "client_secret",
        "token",
        "Authorization",
        "Set-Cookie",
        "private_key",
        "privateKey",
    ],
)
def test_values_of_secret_keys_are_hidden(key: str) -> None:
    """Wherever the key stands, whatever the value is."""
    assert clean(None, "info", {key: "hunter2", "in": [{key: ["hunter2"]}]}) == {key: HIDDEN, "in": [{key: HIDDEN}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer abc.DEF-123", f"Bearer {HIDDEN}"),
        ("authorization is basic dXNlcjpwYXNz, he said", f"authorization is basic {HIDDEN}, he said"),
        ("basic authentication fails", "basic authentication fails"),
        ("GET http://u:hunter2@h/x", f"GET http://{HIDDEN}@h/x"),
        ("GET http://h/x@y", "GET http://h/x@y"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY----- x", f"{HIDDEN} x"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", HIDDEN),
    ],
)
def test_secrets_are_known_by_their_form(text: str, shown: str) -> None:
    """Credentials of HTTP, in addresses, and private keys, in any value and in the event itself."""
    assert clean(None, "info", {"event": text, "x": text}) == {"event": shown, "x": shown}


def test_control_characters_are_escaped_and_length_is_limited() -> None:
    """A peer cannot write into the operator's terminal or fill the disk."""
    event = clean(None, "info", {"event": "a\x1b[2J\nb\u202e", "long": "x" * 10_000, "k": {"a\nb": b"\x00"}, "s": {1}})
    assert event == {"event": "a\\x1b[2J\\nb\\u202e", "long": "x" * 4096 + "…", "k": {"a\\nb": "b'\\x00'"}, "s": [1]}
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep]
    assert len(str(clean(None, "info", {"deep": deep}))) < 200


def test_what_cannot_be_shown_does_not_raise() -> None:
    """A value whose repr fails is named by its type."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    assert clean(None, "info", {"x": Mute()}) == {"x": "<Mute>"}


def test_a_traceback_is_in_the_line_and_clean(stream: io.StringIO) -> None:
    """A bug is one line as well, without what the exception's text holds of secrets and control characters."""
    try:
        fail("http://u:hunter2@h \x1b[1m")
    except ValueError:
        structlog.get_logger("octopus").exception("bug")
        logging.getLogger("other").exception("bug")
    for line in lines(stream):
        assert line["exception"].splitlines()[-1] == f"ValueError: http://{HIDDEN}@h \\x1b[1m"
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("name", ["asyncssh", "httpx", "uvicorn.access", "ldap3", "kazoo.client", "docker", "urllib3.connectionpool"])
def test_libraries_speak_from_warnings_up_in_our_form(name: str) -> None:
    """What they say of commands and requests at INFO is not logged, even where we log DEBUG."""
    stream = io.StringIO()
    configure(level="debug", stream=stream)
    logging.getLogger(name).info("Command: mysql -phunter2")
    logging.getLogger(name).warning("%s failed: %s", "x", "Bearer abc123DEF")
    structlog.get_logger("octopus").debug("seen")
    first, second = lines(stream)
    assert (first["event"], first["level"], first["logger"]) == (f"x failed: Bearer {HIDDEN}", "warning", name)
    assert second["event"] == "seen"


def test_a_line_that_cannot_be_formatted_is_not_printed_raw(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither to the log nor past it."""
    logging.getLogger("other").warning("%d", "hunter2")
    assert (stream.getvalue(), capsys.readouterr().err) == ("", "")


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    """DEBUG is off unless asked for."""
    structlog.get_logger("octopus").debug("no")
    assert lines(stream) == []


def test_below_the_level_libraries_are_quiet_too() -> None:
    """A verb that prints a table has no warnings of kazoo's before it."""
    stream = io.StringIO()
    configure(level="critical", stream=stream)
    logging.getLogger("kazoo.client").warning("Connection dropped")
    assert stream.getvalue() == ""


def test_a_terminal_gets_readable_lines() -> None:
    """On a terminal an event is a coloured line, and as clean."""
    stream = Terminal()
    configure(stream=stream)
    structlog.get_logger("octopus").warning("hello", password="hunter2", name="a\nb")
    assert "hello" in stream.getvalue()
    assert "a\\nb" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert "asyncssh" in log.LIBRARIES
