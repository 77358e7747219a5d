"""A private ZooKeeper, where Mesos masters leave word who leads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from octopus.demo.engines import free_port
from octopus.demo.process import Daemon, new_directory
from tests.parts.tools import missing, need

JAR = Path("/usr/share/java/zookeeper.jar")


class ZooKeeper:
    """One standalone server; ``hosts`` is what clients take (``127.0.0.1:PORT``). ``port`` is a free one unless given."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        java = need("java", "zookeeper")
        if not JAR.exists():
            missing(f"no {JAR}: install Debian's package zookeeper")
        self.host, self.port = host, port or free_port(host)
        self.hosts = f"{self.host}:{self.port}"
        self.directory = new_directory("zookeeper")
        config = self.directory / "zoo.cfg"
        config.write_text(
            f"dataDir={self.directory}/data\nclientPort={self.port}\nclientPortAddress={host}\n"
            "tickTime=500\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n"
        )
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        command = [java, "-Xmx128m", "-cp", "/usr/share/java/*", main, str(config)]
        self._daemon = Daemon(self.directory, command, self._serves)

    def __enter__(self) -> Self:
        self._daemon.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and remove its data."""
        self._daemon.stop()

    def _serves(self) -> bool:
        """Tell whether the server says that it stands alone, which is when it takes clients."""
        try:
            with socket.create_connection((self.host, self.port), 1) as connection:
                connection.sendall(b"srvr")
                return b"standalone" in connection.makefile("rb").read(4096)
        except OSError:
            return False


@pytest.fixture(scope="session")
def zookeeper() -> Iterator[ZooKeeper]:
    """Give a ZooKeeper for the whole run."""
    with ZooKeeper() as server:
        yield server
