"""How many instances of an app one offer holds by its resources, roles, ports and rules of its own, and why it holds no more.

Sources: ``mesos/ResourceMatcher.scala`` and ``marathon/tasks/PortsMatcher.scala`` of 0.8.2, 0.11.1, 1.1.5 and 1.11. Constraints are
not looked at here, but for which fields they name.
"""

from __future__ import annotations

from collections.abc import Sequence

from octopus.core.placement_app import App
from octopus.core.placement_offers import Offer
from octopus.core.placement_rules import Entries, Reason, Rules
from octopus.core.resources import NOTHING, SCALARS, UNRESERVED, Amounts, Ranges, count, holds, lowest, shown, united, without

PLENTY = 10**9
"""Instances of an app that needs nothing."""

Why = tuple[Reason, str]
_SHORT = {
    "cpus": Reason.INSUFFICIENT_CPUS,
    "mem": Reason.INSUFFICIENT_MEMORY,
    "disk": Reason.INSUFFICIENT_DISK,
    "gpus": Reason.INSUFFICIENT_GPUS,
}


class Fit:
    """An app against offers. ``region`` is the master's own; ``surely`` counts only what is certainly free."""

    def __init__(self, app: App, rules: Rules, *, region: str = "", surely: bool = False) -> None:
        self._app = app
        self._rules = rules
        self._region = "" if not rules.local_region or _names_domain(app) else region
        self._surely = surely
        self.roles = rules.accepted_roles(app.roles, app.role)
        self._order = sorted(self.roles, key=lambda role: role != UNRESERVED)
        self._needs = [(name, getattr(app.needs, name)) for name in SCALARS if getattr(app.needs, name)]
        self._fixed_ports = [port for port in app.ports if port]
        self._keeps_gpus = rules.gpus_kept and not app.needs.gpus and app.gpu_behaviour != "unrestricted"

    def room(self, offer: Offer) -> int:
        """Return how many instances the offer holds."""
        entries = self._entries(offer)
        if not entries or self._declined(offer, entries):
            return 0
        most = PLENTY
        for name, need in self._needs:
            most = min(most, self._scalar(name, need, entries))
            if not most:
                return 0
        if self._rules.entries is Entries.ANY and not any(entry.disk for entry in entries):
            return 0
        return min(most, self._ports(entries)) if self._app.ports else most

    def why(self, offer: Offer) -> list[Why]:
        """Return every reason why it holds no instance, [] when it does, in the order in which Marathon names one."""
        if offer.withheld:
            return [(Reason.NOT_OFFERED, offer.withheld)]
        entries = self._entries(offer)
        if not entries:
            return [(Reason.UNFULFILLED_ROLE, f"nothing free for {', '.join(sorted(self.roles)) or 'a role Marathon has'}")]
        found = self._declined(offer, entries)
        short = [(name, need) for name, need in self._needs if not self._scalar(name, need, entries)]
        found += [(_SHORT[name], self._lack(name, need, entries)) for name, need in short]
        if self._rules.entries is Entries.ANY and not self._app.needs.disk and not any(entry.disk for entry in entries):
            found.append((Reason.INSUFFICIENT_DISK, "no disk free at all, which this version looks at whatever the app needs"))
        if self._app.ports and not self._ports(entries):
            found.append((Reason.INSUFFICIENT_PORTS, self._lack_of_ports(entries)))
        return sorted(found, key=lambda each: _FUNNEL[each[0]])

    def taken(self, offer: Offer, instances: int) -> Offer:
        """Return the offer without what so many instances use; ports that may be any are the lowest."""
        fixed = _fixed(self._app.ports)
        wanted = (len(self._app.ports) - len(fixed)) * instances
        free: Ranges = ()
        for role in self.roles:
            free = united(free, offer.free.get(role, NOTHING).ports)
        ports = united(lowest(without(free, fixed), wanted), fixed if instances else ())
        used = self._app.needs.times(instances)
        if self._rules.entries is Entries.ANY:
            used -= Amounts(disk=used.disk)
        return offer.taking(used + Amounts(ports=ports), self.roles)

    def _entries(self, offer: Offer) -> list[Amounts]:
        """Return what is free for each accepted role that has anything."""
        if offer.withheld:
            return []
        free = offer.least if self._surely else offer.free
        found = [free[role] for role in self._order if role in free]
        return [each for each in found if each.cpus or each.mem or each.disk or each.gpus or each.ports]

    def _declined(self, offer: Offer, entries: Sequence[Amounts]) -> list[Why]:
        found: list[Why] = []
        if self._region and offer.region not in {"", self._region}:
            found.append((Reason.UNFULFILLED_CONSTRAINT, f"in region {offer.region}, and no constraint names a region or a zone"))
        if offer.maintenance and self._rules.maintenance:
            found.append((Reason.UNFULFILLED_CONSTRAINT, "in maintenance"))
            found.append((Reason.AGENT_MAINTENANCE, "in maintenance"))
        if self._keeps_gpus and any(entry.gpus for entry in entries):
            found.append((Reason.DECLINED_SCARCE_RESOURCES, "has GPUs, which the app does not need"))
        return found

    def _scalar(self, name: str, need: int, entries: Sequence[Amounts]) -> int:
        if len(entries) == 1 and self._rules.entries is not Entries.ANY:
            return int(getattr(entries[0], name) // need)
        amounts = [getattr(entry, name) for entry in entries]
        if self._rules.entries is Entries.SUMMED:
            return int(sum(amounts) // need)
        if name == "disk" and self._rules.entries is Entries.ANY:
            return PLENTY if max(amounts) >= need else 0
        return int(sum(amount // need for amount in amounts))

    def _lack(self, name: str, need: int, entries: Sequence[Amounts]) -> str:
        amounts = [getattr(entry, name) for entry in entries]
        if self._rules.entries is Entries.SUMMED:
            return f"needs {shown(need)} {name}, {shown(sum(amounts))} free"
        return f"needs {shown(need)} {name} of one role, {shown(max(amounts))} free"

    def _offered_ports(self, entries: Sequence[Amounts]) -> Ranges:
        with_ports = [entry.ports for entry in entries if entry.ports]
        if len(with_ports) == 1:
            return with_ports[0]
        if self._rules.contiguous_ports:
            # 0.8 looks at one entry of ports only; Mesos puts unreserved ones first.
            return with_ports[0] if with_ports else ()
        found: Ranges = ()
        for each in with_ports:
            found = united(found, each)
        return found

    def _ports(self, entries: Sequence[Amounts]) -> int:
        free = self._offered_ports(entries)
        fixed = self._fixed_ports
        random = len(self._app.ports) - len(fixed)
        if fixed:
            there = all(holds(free, port) for port in fixed) and len(set(fixed)) == len(fixed)
            return int(there and count(free) - len(fixed) >= random)
        if self._rules.contiguous_ports and self._app.declared:
            return contiguous(free, self._app.declared, surely=self._surely)
        return count(free) // random

    def _lack_of_ports(self, entries: Sequence[Amounts]) -> str:
        free = self._offered_ports(entries)
        missing = [str(port) for port in self._app.ports if port and not holds(free, port)]
        if missing:
            return f"port {', '.join(missing)} not free"
        beside = " beside each other" if self._rules.contiguous_ports else ""
        return f"needs {len(self._app.ports)} ports{beside}, {count(free)} free"


def contiguous(free: Ranges, declared: Sequence[int], *, surely: bool) -> int:
    """Return how many instances get ports from 0.8: those declared if all are free, else so many beside each other in one range.

    Where in a range is chance, so that a range of L ports holds at most L // k instances and at least as many as fit with gaps of
    k - 1 between them (``PortsMatcher.scala`` 0.8.2, randomPortRanges).
    """
    k = len(declared)
    wished = _fixed(declared)
    if len(wished) and count(wished) == k and not without(wished, free):
        return 1 + contiguous(without(free, wished), [0] * k, surely=surely)
    lengths = [end - begin + 1 for begin, end in free]
    if surely:
        return sum(-(-(length - k + 1) // (2 * k - 1)) for length in lengths if length >= k)
    return sum(length // k for length in lengths)


def _fixed(ports: Sequence[int]) -> Ranges:
    found: Ranges = ()
    for port in ports:
        if port:
            found = united(found, ((port, port),))
    return found


def _names_domain(app: App) -> bool:
    return any(each.field in {"@region", "@zone"} for each in app.constraints)


_FUNNEL = {reason: at for at, reason in enumerate(Reason)}
