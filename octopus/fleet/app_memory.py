"""What the UNIQUE daemon remembers of one app, and what that forbids: others who scale it, failures, instances that found no place."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from octopus.core.placement_app import App
from octopus.core.unique import Coverage, Standing

FIRST_WAIT, LONGEST_WAIT = 30.0, 600.0
"""Seconds before the next try after a failure, doubled with each one more."""
REVERTED_OFTEN = 2
"""So often somebody takes our number back before we leave the app to them."""
READ_BACK = 120.0
"""Seconds within which what was written is read back."""


@dataclass(slots=True)
class AppMemory:
    """One app's past. Times in seconds since 1970; where the clock was set back, what is in the future by it holds nothing up.

    ``wrote`` is the number last written, which made ``version``; it is ``checked`` once its instances had time to start. ``futile`` is
    the state of things in which a try is known to be in vain, ``told`` what was said last of why nothing is done.
    """

    wrote: int = 0
    wrote_at: float = 0.0
    version: str = ""
    checked: bool = True
    reverted: int = 0
    failures: int = 0
    not_before: float = 0.0
    futile: Hashable = None
    told: Hashable = None
    stuck_since: float = 0.0

    def taken_back(self, app: App) -> bool:
        """Note what Marathon says now; True, once for each number written, when somebody has lowered it since."""
        if not self.wrote or app.version < self.version or app.instances >= self.wrote:
            return False
        self.wrote, self.checked = 0, True
        self.reverted += 1
        return True

    def scaled(self, instances: int, version: str, now: float) -> None:
        """Note that a number was written."""
        self.wrote, self.wrote_at, self.version, self.checked = instances, now, version, False
        self.failures, self.not_before, self.futile = 0, 0.0, None

    def failed(self, now: float, *, final: Hashable = None) -> None:
        """Note that it could not be written; ``final``: it will not be as long as this is the state of things."""
        self.not_before = now + min(FIRST_WAIT * 2.0 ** min(self.failures, 20), LONGEST_WAIT)
        self.failures += 1
        self.futile = final

    def check_due(self, now: float, check_after: float) -> bool:
        """Tell, once, that the instances asked for have had ``check_after`` seconds to start."""
        self.wrote_at = min(self.wrote_at, now)
        if self.checked or now < self.wrote_at + check_after:
            return False
        self.checked = True
        return True

    def hangs(self, now: float, patience: float, *, stuck: bool) -> bool:
        """Whether a deployment that asks for more than can run has been ``stuck`` for ``patience`` seconds at every look."""
        self.stuck_since = min(self.stuck_since or now, now) if stuck else 0.0
        return stuck and now - self.stuck_since >= patience

    def awaits(self, app: App, now: float) -> bool:
        """Whether ``app`` is older than what was written: nothing can be said of it yet."""
        return app.version < self.version and abs(now - self.wrote_at) < READ_BACK

    def given_up(self) -> str:
        """Return why the app is left to others, "" while it is not."""
        if self.reverted < REVERTED_OFTEN:
            return ""
        return f"somebody else sets its number of instances: ours was taken back {self.reverted} times"

    def pause(self, state: Hashable, now: float) -> str:
        """Return why nothing is tried just now, which the failure before it has told; "" for nothing."""
        if self.futile is not None and self.futile == state:
            return "the same was tried in vain, and nothing has changed since"
        if now < self.not_before <= now + LONGEST_WAIT:
            return f"the last try failed; the next one is in {max(1, round(self.not_before - now))} s"
        return ""


def state_of(app: App, found: Coverage) -> Hashable:
    """Return what decides whether a try that failed is worth another: the app, its number, and how the hosts stand to it."""
    return hash((app.version, found.step.instances, tuple((host.hostname, host.standing) for host in found.hosts)))


def lacking(found: Coverage) -> tuple[tuple[str, str, str], ...]:
    """Return the hosts that lack an instance and take none: name, Marathon's reason, and the sentence."""
    return tuple((host.hostname, host.reasons[0], host.why) for host in found.hosts if host.standing is Standing.BLOCKED)
