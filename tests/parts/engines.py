"""Docker engines: the one that answers here (or a private one), and two over TLS on addresses of their own, as two agents."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from octopus.core.types import EngineAddress
from octopus.demo.certificates import Authority
from octopus.demo.engines import PrivateEngine, first_answering, open_engine
from octopus.demo.images import BUSYBOX, ensure_images
from octopus.demo.process import StartFailed
from tests.parts.tools import missing, need

LABEL = "octopus.test"


@dataclass(frozen=True)
class Engine:
    """An engine with both demo images. ``address`` is how octopus reaches it; ``private`` is set where it is ours to stop."""

    address: EngineAddress
    private: PrivateEngine | None = None
    label: str = field(default_factory=lambda: secrets.token_hex(6))

    @contextlib.contextmanager
    def api(self) -> Iterator[Any]:
        """Give a docker.APIClient."""
        with contextlib.closing(open_engine(self.address)) as api:
            yield api

    @contextlib.contextmanager
    def container(self, command: Sequence[str] | None = None, *, image: str = BUSYBOX, **options: Any) -> Iterator[str]:
        """Give the id of a running container, removed at the end; ``options`` are those of the SDK's create_container.

        ``host_config`` is a plain dict of HostConfig fields (``{"NetworkMode": "host"}``).
        """
        labels = {**options.pop("labels", {}), LABEL: self.label}
        with self.api() as api:
            made = api.create_container(image, command and list(command), labels=labels, stop_signal="SIGKILL", **options)["Id"]
            try:
                api.start(made)
                yield made
            finally:
                self._remove(api, made)

    @contextlib.contextmanager
    def network(self) -> Iterator[str]:
        """Give the name of a bridge of its own, on which containers have a network of theirs and ports can be mapped."""
        name = f"octopus-test-{secrets.token_hex(4)}"
        with self.api() as api:
            made = api.create_network(name, driver="bridge", labels={LABEL: self.label})["Id"]
            try:
                yield name
            finally:
                api.remove_network(made)

    def run(self, container: str, *command: str, user: str = "") -> tuple[int, bytes]:
        """Run a command in a container to its end; return its status and what it wrote, stderr included."""
        with self.api() as api:
            made = api.exec_create(container, list(command), user=user)["Id"]
            output = api.exec_start(made)
            return int(api.exec_inspect(made)["ExitCode"]), bytes(output)

    def processes(self, container: str) -> list[str]:
        """Return the command lines that run in a container, by the engine's own ``ps`` on its host."""
        with self.api() as api:
            return [str(row[-1]) for row in api.top(container)["Processes"]]

    def remove_all(self) -> None:
        """Remove what tests of this run left behind."""
        with self.api() as api:
            for container in api.containers(all=True, quiet=True, filters={"label": f"{LABEL}={self.label}"}):
                self._remove(api, container["Id"])

    @staticmethod
    def _remove(api: Any, container: str) -> None:
        """Remove a container, running or not, there or not."""
        with contextlib.suppress(docker.errors.NotFound):
            api.remove_container(container, force=True, v=True)


@contextlib.contextmanager
def private_engine(host: str = "", authority: Authority | None = None, *, port: int = 0) -> Iterator[Engine]:
    """Give a private engine, over TLS where ``host`` and ``authority`` are given."""
    need("dockerd", "docker.io")
    try:
        with PrivateEngine(host=host, port=port, authority=authority) as engine:
            yield Engine(address=engine.address, private=engine)
    except FileNotFoundError as error:
        missing(str(error))
    except StartFailed as error:
        missing(f"a private Docker engine does not start (it needs root): {error}")


@contextlib.contextmanager
def any_engine() -> Iterator[Engine]:
    """Give the engine that answers at DOCKER_HOST or the usual socket, else a private one."""
    address = first_answering([os.environ.get("DOCKER_HOST", ""), "unix:///var/run/docker.sock"])
    if address is None:
        with private_engine() as engine:
            yield engine
        return
    engine = Engine(address=address)
    with engine.api() as api:
        ensure_images(api)
    try:
        yield engine
    finally:
        engine.remove_all()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """Give an engine that is up for the whole run."""
    with any_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def tls_authority() -> Iterator[Authority]:
    """Give the authority that the TLS engines and directories of this run trust."""
    with tempfile.TemporaryDirectory(prefix="octopus-ca-") as directory:
        yield Authority(Path(directory))


@pytest.fixture(scope="session")
def two_tls_engines(tls_authority: Authority) -> Iterator[tuple[Engine, Engine]]:
    """Give two engines over TLS with client certificates, on 127.0.0.2 and 127.0.0.3, at one port: agents differ by address."""
    with private_engine("127.0.0.2", tls_authority) as one:
        port = int(one.address.url.rpartition(":")[2])
        with private_engine("127.0.0.3", tls_authority, port=port) as two:
            yield one, two
