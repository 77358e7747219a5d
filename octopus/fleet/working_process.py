"""The child process of ``working``: reads a moment of the cluster and a question on its input, writes the answer to its output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from octopus.core.errors import InvalidDocument, NoSuchTarget
from octopus.core.inventory import Agent, MarathonTask, Task
from octopus.core.placement_app import App
from octopus.fleet.report import coverages, report, unique_lines
from octopus.fleet.seen import Moment, Seen
from octopus.fleet.simulation import Question, answer
from octopus.fleet.working import NICENESS, Answer, Part, ReportQuestion


def main() -> None:
    """Answer the one question that comes."""
    os.nice(NICENESS)
    moment, question = read(parts(sys.stdin.buffer))
    sys.stdout.buffer.write(msgspec.msgpack.encode(answered(Seen(moment), question)))
    sys.stdout.buffer.flush()


def parts(source: BinaryIO) -> Iterator[Part]:
    """Yield the parts on the input, each with its size in front."""
    decoder = msgspec.msgpack.Decoder(Part)
    while head := source.read(4):
        yield decoder.decode(source.read(int.from_bytes(head, "big")))


def read(told: Iterator[Part]) -> tuple[Moment, Question | ReportQuestion]:
    """Return the moment that the parts make, and the question in the last of them. Raise EOFError without one."""
    agents: list[Agent] = []
    tasks: list[Task] = []
    apps: list[App] = []
    of_marathon: dict[str, MarathonTask] = {}
    for part in told:
        agents += part.agents
        tasks += part.tasks
        apps += part.apps
        of_marathon |= part.told
        if part.head is not None and part.question is not None:
            marathon = msgspec.structs.replace(part.head.marathon, tasks=of_marathon, apps={app.id: app for app in apps})
            known = {agent.id: agent for agent in agents}
            return msgspec.structs.replace(part.head, agents=known, tasks=tasks, marathon=marathon), part.question
    raise EOFError("the question is missing")


def answered(seen: Seen, question: Question | ReportQuestion) -> Answer:
    """Return the answer, faults included."""
    if isinstance(question, ReportQuestion):
        found = report(seen, named=question.named)
        return Answer(report=msgspec.structs.replace(found, unique=unique_lines(coverages(seen, question.now))))
    try:
        return Answer(simulation=answer(seen, question))
    except InvalidDocument as error:
        return Answer(faults=error.faults)
    except NoSuchTarget as error:
        return Answer(missing=error.notice)


if __name__ == "__main__":
    main()
