"""Reads the recorded answers under tests/data."""

from __future__ import annotations

import gzip
from pathlib import Path

DATA = Path(__file__).parent / "data"


def mesos(name: str) -> bytes:
    """Return one recorded answer of Mesos, by its name without ``.gz``."""
    return gzip.decompress((DATA / "mesos" / f"{name}.gz").read_bytes())


def mesos_names(prefix: str) -> list[str]:
    """Return the names of the recorded answers that begin so."""
    return sorted(path.name.removesuffix(".gz") for path in (DATA / "mesos").glob(f"{prefix}*.gz"))
