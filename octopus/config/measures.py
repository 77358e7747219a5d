"""The sections of what is measured: capacity, usage, and where figures go."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from octopus.config.fields import Duration, Globs, MetricPrefix, OptionalAddress, Timeout
from octopus.config.section import Section


class Capacity(Section):
    """``[capacity]``: what the cluster can still take, worked out every ``interval``; 0 is never."""

    interval: Duration = 60.0
    apps: Globs = ()
    """Apps whose own headroom is told, besides that of the running mix; at most 100."""


class Usage(Section):
    """``[usage]``: what apps really use, asked of every agent's engine every ``interval``; 0 is never."""

    interval: Duration = 0.0
    engines: Annotated[int, Field(ge=1, le=1024)] = 32
    """Engines that are asked at a time."""
    deadline: Timeout = 30.0
    """For all containers of one engine."""
    apps: Globs = ("/**",)


class Metrics(Section):
    """``[metrics]``: StatsD in addition to /metrics."""

    statsd: OptionalAddress = None
    statsd_interval: Timeout = 10.0
    prefix: MetricPrefix = "octopus"
    """Of the names in StatsD; in /metrics all begin with octopus_."""
