"""What is told of a cluster, in values and in sentences."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from octopus import forecast_tables
from octopus.core.cluster import Cluster
from octopus.core.errors import InvalidDocument
from octopus.core.inventory import RUNNING, Agent, MarathonSnapshot, MarathonTask, Snapshot, Task
from octopus.core.placement_app import App
from octopus.core.placement_rules import rules_of
from octopus.core.resources import Amounts
from octopus.fleet.report import MOST_PLACINGS, TOO_LARGE, report
from octopus.fleet.seen import Seen
from octopus.fleet.simulation import MAX_DOCUMENT, forecast
from octopus.forecast import document

NEEDS = Amounts(1000, 64_000)


def cluster(*, agents: int = 2, apps: int = 1, unattributed: int = 0, reserved: int = 0) -> Cluster:
    """Return agents of four CPUs, with one app of two instances that both run on the first."""
    known = Cluster(marathon=True)
    kept = {"db": Amounts(cpus=reserved * 1000)} if reserved else {}
    listed = [Agent(f"S{at}", f"host-{at}", total=Amounts(4000, 4_096_000), reserved=kept, reserved_used={}) for at in range(agents)]
    tasks = [Task(f"a.{at}", "fw", "S0", RUNNING, amounts=NEEDS) for at in range(2)]
    known.replace(Snapshot(agents=listed, frameworks={"fw": "marathon"}, tasks=tasks, unattributed=Amounts(cpus=unattributed)))
    defined = {f"/{'a' * (at + 1)}": App(id=f"/{'a' * (at + 1)}", instances=2 if at == 0 else 0, needs=NEEDS) for at in range(apps)}
    said = {task.id: MarathonTask("/a", "S0", host="host-0") for task in tasks}
    known.replace_marathon(MarathonSnapshot(tasks=said, framework="fw", apps=defined, rules=rules_of("1.8.222")))
    return known


def told(sections: object) -> str:
    """Return all sentences and cells; each column has a head."""
    parts = list(sections)  # type: ignore[call-overload]
    assert all(all(head) for _, head, _ in parts)
    return "\n".join(" ".join([text, *head, *(" | ".join(row) for row in rows)]) for text, head, rows in parts)


def test_a_report_says_what_it_leaves_out() -> None:
    """Executors no one knows the agent of; a cluster too large to try every loss."""
    found = report(Seen(cluster(unattributed=4800)))
    assert found.notes == ("approximate: 4.8 CPUs and 0 MB are used by executors of which this Mesos does not say the agent",)
    assert found.what_if is not None
    large = report(Seen(cluster(agents=MOST_PLACINGS // 100, apps=101)))
    assert (large.what_if, large.notes) == (None, (TOO_LARGE,))
    assert TOO_LARGE in told(forecast_tables.capacity(large))


def test_an_app_that_cannot_be_judged_is_no_unknown_one() -> None:
    """What is wrong with it is said where it is asked for, alone or in its group; reports say that it is left out."""
    known = cluster()
    bad = {f"/bad/{at}": f"constraints(0) {at}\x1b: is not valid" for at in range(7)}
    known.replace_marathon(msgspec.structs.replace(known.marathon, unread=bad))
    seen = Seen(known)
    with pytest.raises(InvalidDocument, match=r"/bad/3: cannot be judged: constraints\(0\) 3\\x1b: is not valid") as alone:
        seen.named("bad/3")
    assert len(alone.value.faults) == 1
    with pytest.raises(InvalidDocument) as group:
        seen.named("/")
    assert len(group.value.faults) == 7
    assert [app.id for app in seen.named("/a")] == ["/a"]
    *some, last = report(seen).notes
    assert [note.split(": ")[:2] for note in some] == [["left out", f"/bad/{at} cannot be judged"] for at in range(5)]
    assert last == "and 2 more apps that cannot be judged"


def test_a_report_in_sentences() -> None:
    """Sums with what is out of reach and why, what an agent's loss would cost, and each agent."""
    text = told(forecast_tables.capacity(report(Seen(cluster(agents=1, reserved=2)))))
    assert "cpus | 4 | 2 | 0 | 0 | 2 reserved for other roles" in text
    assert "without host-0, 2 instances would find no other place (/a)" in text
    assert "no app that runs fits once more" in text
    assert "host-0 | 2 | 0" in text


def test_a_cluster_without_apps_has_sums_only() -> None:
    """No mix, no shapes."""
    found = report(Seen(cluster(apps=0)))
    assert (found.shapes, found.what_if) == ({}, None)
    assert "shape of the running mix" not in told(forecast_tables.capacity(found))


def test_bounds_are_told_with_their_cause() -> None:
    """Exact ends by order, or only estimates; many refusals are counted by reason."""
    seen = Seen(cluster(agents=60))
    group = App(id="/g", needs=Amounts(cpus=5000))
    text = told(forecast_tables.simulation(forecast(seen, [group], 1)))
    assert "/g: 0 of 1 fit" in text
    assert "and 20 more with InsufficientCpus" in text
    [outcome] = forecast(seen, [App(id="/a", instances=2, needs=Amounts(cpus=5000))], None, documents=True).outcomes
    assert outcome.upgrade is not None
    assert not outcome.fits


def test_documents_have_a_limit(tmp_path: Path) -> None:
    """A file that is no document is not read to its end; what is no file is a name."""
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MAX_DOCUMENT + 1)
    with pytest.raises(InvalidDocument, match="longer than"):
        document(str(path))
    assert document(str(tmp_path / "none")) is None
