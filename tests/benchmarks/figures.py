"""The table of figures: what was measured beside what, on which machine and when; kept in RESULTS.md, a row a figure."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = ("figure", "octopus", "beside it", "ratio", "meant to be", "how", "day", "Python", "load")
TITLE = """# Figures

Written by `make bench` (or one file of it); each row by the last run that measured it. A ratio is of medians, of two commands taken in
turn in one run. *Python* is what the gateway ran on: one that is not the system's may be built without optimization. *load* is the
machine's load average while it was measured: above its number of cores others worked on it too, and only ratios and processor times
say something.
"""

_VERSIONS = {"OpenSSH": ("ssh", "-V"), "Docker": ("docker", "--version")}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row: what octopus needs (``ours``), what it is compared with, both as text; ``ratio`` 0 where there is none."""

    name: str
    ours: str
    theirs: str = ""
    ratio: float = 0.0
    goal: str = ""
    how: str = ""

    def cells(self, moment: datetime, load: float) -> tuple[str, ...]:
        """Return the row, as of this moment."""
        ratio = f"{self.ratio:.2f}" if self.ratio else ""
        return self.name, self.ours, self.theirs, ratio, self.goal, self.how, f"{moment:%Y-%m-%d}", _python(), f"{load:.1f}"


class Table:
    """The figures in ``path``; ``say`` shows each as it is measured."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say

    def add(self, figure: Figure) -> None:
        """Show a figure and write it in place of what was measured before."""
        cells = figure.cells(datetime.now(UTC), os.getloadavg()[0])
        self._say("  ".join(f"{name}: {cell}" for name, cell in zip(HEAD, cells, strict=True) if cell))
        rows = _rows(self._path.read_text() if self._path.exists() else "")
        rows[figure.name] = cells
        lines = [HEAD, ("---",) * len(HEAD), *(rows[name] for name in sorted(rows))]
        self._path.write_text(f"{TITLE}\n{machine()}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))


def machine() -> str:
    """Describe the machine: processor, memory, system, and the programs that octopus is compared with."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    programs = [f"{name} {found[0]}" for name, argv in _VERSIONS.items() if (found := re.search(r"\d+\.\d+[\w.]*", _said(argv)))]
    return (
        f"Machine: {os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, {memory} GiB, {system}, Linux {platform.release()}, "
        f"{', '.join(programs)}."
    )


async def in_turn(rounds: int, *runs: Callable[[], Awaitable[float]]) -> list[list[float]]:
    """Return what each run measured, taken in turn: whatever else the machine does meets all alike."""
    measured: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, values in zip(runs, measured, strict=True):
            values.append(await run())
    return measured


async def timed(run: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds that ``run`` takes."""
    began = time.perf_counter()
    await run()
    return time.perf_counter() - began


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def high(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def ms(seconds: float) -> str:
    """Return seconds as milliseconds to read."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def busy(pids: Sequence[int]) -> float:
    """Return the processor seconds that these processes have used, the system's on their behalf included (proc(5), stat).

    One that has ended counts with the parent that waited for it.
    """
    return sum(_busy(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


@dataclass
class Spent:
    """The processor seconds of ``runs`` on the whole machine, and ``own``, what the processes ``pids`` used of them."""

    pids: Sequence[int]
    runs: int = 0
    whole: float = 0.0
    own: float = 0.0

    async def during(self, run: Callable[[], Awaitable[float]]) -> float:
        """Do a run, counted; return what it returns."""
        whole, own = _machine_busy(), busy(self.pids)
        measured = await run()
        self.runs += 1
        self.whole += _machine_busy() - whole
        self.own += busy(self.pids) - own
        return measured

    @property
    def each(self) -> float:
        """What the processes used in a run."""
        return self.own / self.runs

    @property
    def rest(self) -> float:
        """The seconds that a run would keep all cores busy, were the processes' part free: of clients and engine alone."""
        return (self.whole - self.own) / self.runs / (os.cpu_count() or 1)


def memory(pids: Sequence[int]) -> int:
    """Return the bytes these processes hold, each shared page divided among those that share it (proc(5), Pss)."""
    return sum(int(found[1]) << 10 for pid in pids if (found := re.search(r"^Pss:\s+(\d+) kB", _rollup(pid), re.MULTILINE)))


def _busy(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15]))


def _machine_busy() -> float:
    """Return the processor seconds that all processes and the system have used (proc(5), stat)."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _rollup(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()


def _rows(text: str) -> dict[str, tuple[str, ...]]:
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row for row in rows if len(row) == len(HEAD) and row[0] not in (HEAD[0], "---")}


def _python() -> str:
    return platform.python_version() + (" of the system" if sys.base_prefix == "/usr" else "")


def _said(argv: Sequence[str]) -> str:
    program = shutil.which(argv[0])
    if program is None:
        return ""
    ran = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False, timeout=10)
    return ran.stdout + ran.stderr
