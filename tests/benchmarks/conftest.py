"""The scene of the end-to-end tests serves the benchmarks too, and a table takes their figures."""

from __future__ import annotations

import pytest

from tests.benchmarks.figures import RESULTS, Table
from tests.e2e.conftest import company, people, scene

__all__ = ["company", "people", "scene"]


@pytest.fixture
def table(capsys: pytest.CaptureFixture[str]) -> Table:
    """Give the table in the repository; figures are shown past pytest's capture, as they are what a benchmark is run for."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    return Table(RESULTS, say)
