"""How a log is asked for: options as ``docker logs`` has them, and a sentence for all else."""

from __future__ import annotations

import pytest

from octopus.core.container_log import DEFAULT_LINES, LogQuery, asked, read
from octopus.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("subsystem", "query"),
    [
        ("logs", LogQuery(lines=DEFAULT_LINES)),
        ("logs -f", LogQuery(follow=True)),
        ("logs -ft -n 5", LogQuery(follow=True, timestamps=True, lines=5)),
        ("logs --tail=all --since 2h", LogQuery(lines=None, since=7200)),
        ("logs  --follow --timestamps -n0 --since=3d", LogQuery(follow=True, timestamps=True, lines=0, since=259_200)),
    ],
)
def test_options_are_read(subsystem: str, query: LogQuery) -> None:
    """In any order and spelling that people are used to."""
    assert asked(subsystem)
    assert read(subsystem) == query


@pytest.mark.parametrize("subsystem", ["sftp", "", "logsx", "LOGS", "xlogs -f"])
def test_other_subsystems_are_no_logs(subsystem: str) -> None:
    """Only the word itself is."""
    assert not asked(subsystem)


@pytest.mark.parametrize(
    "options",
    [
        "-x",
        "-n",
        "-n x",
        "-n -1",
        "-n \N{ARABIC-INDIC DIGIT ONE}",
        "--since 5",
        "--since 1w",
        "--since \x1b[2J",
        "file",
        "--fol",
        "-f " * 100,
    ],
)
def test_what_cannot_be_read_says_how_to_ask(options: str) -> None:
    """One line that names what was wrong, without a control character in it."""
    with pytest.raises(InvalidRequest) as caught:
        read(f"logs {options}")
    assert caught.value.notice.startswith("logs: ")
    assert "expected logs [-f] [-n LINES|all]" in caught.value.notice
    assert caught.value.notice.isprintable()
