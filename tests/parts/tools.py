"""Programs that tests need from outside: a missing one is a skip on a laptop and a failure where CI is set."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

SEARCH = ":".join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Daemons live in sbin, which is not on everybody's PATH."""


def missing(reason: str) -> NoReturn:
    """Skip the test that needs it; fail it where CI is set, for there everything must be present."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def need(program: str, package: str) -> str:
    """Return the path of a program, or say which Debian package has it."""
    found = shutil.which(program, path=SEARCH)
    return found if found is not None else missing(f"no {program}: install Debian's package {package}")
