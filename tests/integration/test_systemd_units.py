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


def test_both_services_are_fenced_in_alike() -> None:
    """No capability, no device, nothing of the system or of people to write; and no /tmp of their own, which workers would outlive."""
    fence = ["NoNewPrivileges", "CapabilityBoundingSet", "PrivateDevices", "Protect", "Restrict", "Keyring", "Lock", "SystemCall"]
    gateway, prune = (
        [line for line in (UNITS / name).read_text().splitlines() if line.startswith(tuple(fence))]
        for name in ("octopus.service", "octopus-prune.service")
    )
    assert gateway == prune
    assert {"NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=full", "ProtectHome=read-only"} <= set(gateway)
    assert "\nPrivateTmp=" not in (UNITS / "octopus.service").read_text()


def test_the_readme_makes_host_keys_that_the_service_can_read() -> None:
    """Its steps make the account first, and the keys in its name: root's would stop the service, after a check that was content."""
    steps = (UNITS.parent / "README.md").read_text().partition("## For your own cluster")[2].split("```")[1]
    assert steps.index("systemd-sysusers") < steps.index("install -d -o octopus") < steps.index("hostkeys create")
    for verb in ("hostkeys create", "check"):
        assert f"runuser -u octopus -- {PROGRAM} {verb}" in steps


def test_pruning_reads_what_the_service_reads() -> None:
    """The same account, configuration and credentials, every day."""
    gateway, prune = ((UNITS / name).read_text().splitlines() for name in ("octopus.service", "octopus-prune.service"))
    assert f"ExecStart={PROGRAM} prune --config /etc/octopus/octopus.toml" in prune
    for shared in ("User=", "Group=", "UMask=", "LoadCredential="):
        assert [line for line in prune if line.startswith(shared)] == [line for line in gateway if line.startswith(shared)]
    assert "OnCalendar=daily" in (UNITS / "octopus-prune.timer").read_text().splitlines()
