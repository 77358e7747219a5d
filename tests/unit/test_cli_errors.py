"""An error of ours is one line and its own status, wherever it was raised; anything else is a bug and says so."""

from __future__ import annotations

import pytest

from octopus.cli import _failed
from octopus.core.errors import AuditUnavailable, ConfigError

AUDIT, FAULTS = AuditUnavailable("disk\n\x1b[2J"), ConfigError(["a:1: x", "a:2: y"])


@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (AUDIT, 69, ["octopus: disk\\n\\x1b[2J"]),
        (AuditUnavailable("\udcff\ud800ü"), 69, ["octopus: \\xff\\ud800ü"]),
        (FAULTS, 78, ["octopus: a:1: x", "octopus: a:2: y"]),
        (
            ExceptionGroup("tasks", [ExceptionGroup("inner", [FAULTS]), AUDIT]),
            78,
            ["octopus: a:1: x", "octopus: a:2: y", "octopus: disk\\n\\x1b[2J"],
        ),
    ],
)
def test_errors_of_ours_are_lines(error: Exception, status: int, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Alone or in the groups that task groups make of them."""
    assert _failed(error) == status
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("tasks", [AUDIT, ValueError("x")])])
def test_a_bug_is_told_with_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has to mend it needs it; status 70."""
    assert _failed(error) == 70
    assert capsys.readouterr().err.splitlines()[-1] == "octopus: internal error: please report the lines above"
