"""Versions of Mesos and Marathon, compared as numbers."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


class Version(NamedTuple):
    """A released version; ``Version.parse("0.28")`` is 0.28.0."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``MAJOR.MINOR[.PATCH]``. Raise ValueError."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"not a version: {text!r}")
        major, minor, patch = found.groups()
        return cls(int(major), int(minor), int(patch or 0))

    def since(self, major: int, minor: int, patch: int = 0) -> bool:
        """Whether this is that version or a later one."""
        return self >= (major, minor, patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
