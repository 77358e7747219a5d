"""Figures for Prometheus: a collector that turns what is known into families when it is scraped, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from octopus.fleet.figures import Family

PREFIX = "octopus_"

Source = Callable[[], Iterable[Family]]
"""Gives figures as they are now; called from any thread, returns at once."""


class FigureCollector(Collector):
    """Yields the families of its sources. A family without samples is left out: nothing is told rather than something wrong."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield every family."""
        for source in self._sources:
            for family in source():
                if family.samples:
                    yield _family(family)

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield nothing: which figures there are depends on what is known."""
        yield from ()


def _family(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if family.counter else GaugeMetricFamily
    found: CounterMetricFamily | GaugeMetricFamily = kind(PREFIX + family.name, family.help, labels=family.labels)
    for labels, value in family.samples:
        found.add_metric(labels, value)
    return found
