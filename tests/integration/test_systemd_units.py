"""The units that ship with octopus, as systemd itself reads them."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

from tests.parts.tools import missing, need

UNITS = Path(__file__).parents[2] / "systemd"
PROGRAM = "/opt/octopus/bin/octopus"
NAMES = ("octopus.socket", "octopus.service", "octopus-prune.service", "octopus-prune.timer")


def installed_program() -> Path:
    """Return the octopus that is installed beside this Python."""
    program = Path(sys.executable).with_name("octopus")
    return program if program.exists() else missing("octopus is not installed here: run make test")


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Nothing to complain of, once ExecStart names a program that this machine has: the one installed here."""
    for name in NAMES:
        text = (UNITS / name).read_text().replace(f"={PROGRAM} ", f"={installed_program()} ")
        (tmp_path / name).write_text(text)
    verified = subprocess.run(
        [need("systemd-analyze", "systemd"), "verify", "--man=no", "--recursive-errors=no", *NAMES],
        cwd=tmp_path,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in verified.stderr.splitlines() if "octopus" in line]
    assert (verified.returncode, complaints) == (0, []), verified.stderr


def test_the_service_is_not_root_and_spares_sessions() -> None:
    """An account of its own, workers left alone at a restart, and the folder through which they are found again kept."""
    units = configparser.ConfigParser(strict=False, interpolation=None)
    units.optionxform = str  # type: ignore[assignment,method-assign]
    units.read(UNITS / "octopus.service")
    service = units["Service"]
    assert service["ExecStart"].split()[:2] == [PROGRAM, "serve"]
    assert (service["Type"], service["User"]) == ("notify", "octopus")
    assert (service["KillMode"], service["RuntimeDirectoryPreserve"]) == ("process", "yes")
    assert "u octopus " in (UNITS / "octopus.sysusers").read_text()


def test_pruning_reads_what_the_service_reads() -> None:
    """The same account, configuration and credentials, every day."""
    gateway, prune = ((UNITS / name).read_text().splitlines() for name in ("octopus.service", "octopus-prune.service"))
    assert f"ExecStart={PROGRAM} prune --config /etc/octopus/octopus.toml" in prune
    for shared in ("User=", "Group=", "UMask=", "LoadCredential="):
        assert [line for line in prune if line.startswith(shared)] == [line for line in gateway if line.startswith(shared)]
    assert "OnCalendar=daily" in (UNITS / "octopus-prune.timer").read_text().splitlines()
