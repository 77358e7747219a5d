"""A real rsyslogd on loopback, in the foreground and with nothing of this machine's: what it read is in a file of the test's."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from octopus.demo.certificates import TlsFiles
from octopus.demo.engines import free_port
from octopus.demo.process import Daemon, new_directory
from tests.parts.tools import missing, need

HOST = "127.0.0.1"
MODULES = ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog", "/usr/lib64/rsyslog")


class Rsyslog:
    """Appends each message's text to ``kept``, a line each; with ``files`` it speaks TLS, and asks for a certificate of their authority.

    Entered again it starts again, on the same port.
    """

    def __init__(self, kept: Path, files: TlsFiles | None = None) -> None:
        self.kept = kept
        self.port = free_port(HOST)
        self._files = files
        self._daemon: Daemon | None = None

    @property
    def lines(self) -> list[bytes]:
        """Return the whole lines it has written."""
        return self.kept.read_bytes().split(b"\n")[:-1] if self.kept.exists() else []

    def __enter__(self) -> Self:
        directory = new_directory("rsyslog")
        # A copy, because AppArmor confines the one at the packaged path to the machine's own directories.
        program = shutil.copy(need("rsyslogd", "rsyslog"), directory / "rsyslogd")
        (directory / "conf").write_text(self._configuration(directory))
        command = [str(program), "-n", "-C", "-f", str(directory / "conf"), "-i", str(directory / "pid"), "-M", _modules()]
        self._daemon = Daemon(directory, command, self._answers)
        self._daemon.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._daemon is not None:
            self._daemon.stop()

    def _configuration(self, directory: Path) -> str:
        driver = ""
        if self._files is not None:
            driver = (
                f' DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{self._files.ca}"'
                f' DefaultNetstreamDriverCertFile="{self._files.cert}" DefaultNetstreamDriverKeyFile="{self._files.key}"'
            )
        mode = ' StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid"' if driver else ""
        return (
            f'global(workDirectory="{directory}" maxMessageSize="1m"{driver})\n'
            f'module(load="imtcp"{mode})\n'
            'template(name="text" type="string" string="%msg%\\n")\n'
            'ruleset(name="kept" queue.type="Direct") {\n'
            f'  action(type="omfile" file="{self.kept}" template="text")\n'
            "}\n"
            f'input(type="imtcp" address="{HOST}" port="{self.port}" maxFrameSize="1000000" ruleset="kept")\n'
        )

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except OSError:
            return False
        return True


def _modules() -> str:
    found = next((path for path in MODULES if (Path(path) / "lmnsd_gtls.so").exists()), None)
    return found or missing("no lmnsd_gtls.so: install Debian's package rsyslog-gnutls")
