"""Bulk data beside somebody who types: it waits as long as it has to, and not at all otherwise."""

from __future__ import annotations

from octopus.session.courtesy import BULK, Courtesy, processor_wanted


class Machine:
    """A clock, a processor that counts, and sleep that only moves the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 50.0
        self.slept = 0.0
        self.courtesy = Courtesy(share=0.5, memory=2.0, clock=lambda: self.now, wanted=lambda: self.used, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.slept += seconds

    def work(self, seconds: float) -> None:
        """Keep the processor busy."""
        self.now += seconds
        self.used += seconds


async def test_bulk_waits_for_nobody_while_nobody_types() -> None:
    """All of the processor is its own."""
    machine = Machine()
    for _ in range(100):
        machine.work(0.01)
        await machine.courtesy.turn(BULK)
    assert machine.slept == 0


async def test_bulk_takes_its_share_while_somebody_types() -> None:
    """And all again two seconds after the last keystroke."""
    machine = Machine()
    await machine.courtesy.turn(BULK)
    machine.courtesy.typed()
    for _ in range(100):
        machine.work(0.01)
        machine.courtesy.typed()
        await machine.courtesy.turn(BULK)
    assert round(machine.slept, 6) == 1.0  # as long as it worked
    machine.work(2.0)
    await machine.courtesy.turn(BULK)
    assert round(machine.slept, 6) == 1.0


async def test_small_writes_never_wait() -> None:
    """What a person reads is not bulk data."""
    machine = Machine()
    machine.courtesy.typed()
    machine.work(1.0)
    await machine.courtesy.turn(BULK - 1)
    assert machine.slept == 0


async def test_time_in_which_nothing_was_wanted_counts() -> None:
    """Who waited for the engine or the client has left room already."""
    machine = Machine()
    machine.courtesy.typed()
    machine.work(0.1)
    machine.now += 0.1
    await machine.courtesy.turn(BULK)
    assert machine.slept == 0


async def test_idle_time_is_not_saved_up() -> None:
    """After a long pause a burst waits as it would have without."""
    machine = Machine()
    machine.courtesy.typed()
    machine.now += 1.5
    await machine.courtesy.turn(BULK)
    machine.work(0.1)
    machine.courtesy.typed()
    await machine.courtesy.turn(BULK)
    assert round(machine.slept, 6) == 0.1


def test_the_kernel_tells_what_was_wanted() -> None:
    """Ever more with work; it counts by its own ticks."""
    before = processor_wanted()
    while processor_wanted() <= before:
        sum(range(10_000))
    assert before > 0
