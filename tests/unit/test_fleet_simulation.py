"""What a request asks of the simulator: read whole, refused with paths, answered as Marathon would."""

from __future__ import annotations

import msgspec
import pytest

from octopus.core.errors import InvalidDocument, NoSuchTarget
from octopus.fleet.report import coverages, report, unique_lines
from octopus.fleet.seen import Moment, Seen
from octopus.fleet.simulation import MAX_DOCUMENT, Question, answer, read_question
from octopus.fleet.working import Answer, Part, ReportQuestion
from octopus.fleet.working_process import answered, read
from tests.unit.test_forecast import cluster


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"id": "/a"}', Question(id="/a")),
        (b'{"id": "/a", "instances": 3}', Question(id="/a", more=3)),
        (b'{"apps": {"id": "/b"}, "instances": null}', Question(document=b'{"id": "/b"}')),
        (b'{"apps": [ {"id": "/b"} ]}', Question(document=b'[ {"id": "/b"} ]')),
    ],
)
def test_a_body_is_a_question(body: bytes, asked: Question) -> None:
    """A name or a document, and how many more."""
    assert read_question(body) == asked


@pytest.mark.parametrize(
    ("body", "path", "text"),
    [
        (b"", "", "Invalid JSON"),
        (b"[]", "", "Expected `object`, got `array`"),
        (b"{}", "", 'expected either "apps" or "id"'),
        (b'{"id": "/a", "apps": {}}', "", 'expected either "apps" or "id"'),
        (b'{"id": 3}', "/id", "Expected `str`, got `int`"),
        (b'{"id": "/a", "instances": -1}', "/instances", "Expected `int` >= 0"),
        (b'{"id": "/a", "instances": 3000000000}', "/instances", "Expected `int` <= 2147483647"),
        (b'{"id": "/a", "force": true}', "", "Object contains unknown field `force`"),
        (b" " * (MAX_DOCUMENT + 1), "", "is longer than"),
        (b"[" * 100_000, "", ""),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes, path: str, text: str) -> None:
    """With the path in it."""
    with pytest.raises(InvalidDocument) as caught:
        read_question(body)
    [(where, what)] = caught.value.faults
    assert where == path
    assert text in what


def test_an_answer() -> None:
    """One more finds a place; a document's faults are told with their paths; what Marathon does not have is said."""
    seen = Seen(cluster())
    found = answer(seen, Question(id="/a", more=1))
    assert (found.fits, [outcome.placement.asked for outcome in found.outcomes]) == (True, [1])
    with pytest.raises(InvalidDocument, match=r"/cpus: error\.expected\.jsnumber"):
        answer(seen, Question(document=b'{"id": "/b", "cpus": "1"}'))
    with pytest.raises(InvalidDocument, match="Invalid JSON"):
        answer(seen, Question(document=b""))
    with pytest.raises(NoSuchTarget):
        answer(seen, Question(id="/nothing"))


def test_the_child_answers_as_the_parent_would() -> None:
    """From parts, in any number; faults come back as values; a report holds the UNIQUE apps too."""
    known = cluster()
    marathon = known.marathon
    told = [
        Part(agents=list(known.agents.values())[:1], apps=list(marathon.apps.values())),
        Part(agents=list(known.agents.values())[1:], tasks=list(known.tasks), told=dict(marathon.tasks)),
    ]
    head = Moment(marathon=msgspec.structs.replace(marathon, tasks={}, apps={}))
    moment, question = read(iter([*told, Part(head=head, question=ReportQuestion(now=1e9, named=("/a",)))]))
    seen = Seen(moment)
    found = answered(seen, question)
    plain = report(Seen(known), named=["/a"])
    assert found.report == msgspec.structs.replace(plain, unique=unique_lines(coverages(Seen(known), 1e9)))
    assert [each.app for each in plain.apps] == ["/a"]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Answer) == found
    assert answered(seen, Question(id="/a", more=1)).simulation == answer(Seen(known), Question(id="/a", more=1))
    assert answered(seen, Question(document=b"{}")).faults == (("/id", "error.path.missing"),)
    assert "no app" in answered(seen, Question(id="/none")).missing
    with pytest.raises(EOFError):
        read(iter(told))
