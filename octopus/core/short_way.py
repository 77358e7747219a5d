"""The short way of what is short: taken in the callback that brought it, while nothing waits before it, so that no task is woken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Take = Callable[[bytes], bool]
"""Takes what came, in order; False, and nothing done, where it has to wait."""


class ShortWay(Protocol):
    """A stream that has one, beside its long way."""

    def offer(self, take: Take) -> None:
        """Have what comes offered to ``take`` first, while whoever reads waits for it; what is not taken is read."""
        ...

    def write_now(self, data: bytes) -> bool:
        """Send what need not wait; False, and nothing sent, when it has to: ``write`` it."""
        ...
