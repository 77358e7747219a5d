"""Docker engines for the demo and the tests: one that already answers, or a private dockerd that leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import urllib.parse
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
import docker.errors
import docker.tls
import requests

from octopus.core.types import EngineAddress
from octopus.demo.certificates import Authority
from octopus.demo.images import ensure_images
from octopus.demo.process import Daemon, StartFailed, new_directory

TIMEOUT = 60
"""Seconds an engine may take for one call."""


class EngineClient(docker.APIClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's client, deaf to the environment: REQUESTS_CA_BUNDLE would win over our authority, HTTPS_PROXY over loopback."""

    trust_env = property(lambda _: False, lambda _, value: None)


def open_engine(address: EngineAddress, timeout: float = TIMEOUT) -> Any:
    """Return a client, its API version negotiated; close it after use. Raise docker.errors.DockerException."""
    tls: docker.tls.TLSConfig | None = None
    if address.tls_cert:
        tls = docker.tls.TLSConfig(client_cert=(address.tls_cert, address.tls_key), ca_cert=address.tls_ca, verify=True)
    return EngineClient(base_url=address.url, tls=tls or False, timeout=timeout, version="auto")


def answers(address: EngineAddress, timeout: float = 2.0) -> bool:
    """Tell whether an engine answers ``GET /_ping`` there, at a unix://, http:// or https:// address."""
    # the SDK leaves its socket open where it cannot connect, so one does not ask again and again through it
    url = urllib.parse.urlsplit(address.url)
    connection = http.client.HTTPConnection(url.hostname or "localhost", url.port or 0, timeout=timeout)
    try:
        connection.sock = _connected(address, url, timeout)
        connection.request("GET", "/_ping")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connected(address: EngineAddress, url: urllib.parse.SplitResult, timeout: float) -> socket.socket:
    """Return a socket connected to the engine, TLS done where it is https. Raise OSError (ssl.SSLError is one)."""
    if url.scheme != "unix":
        plain = socket.create_connection((url.hostname or "", url.port or 0), timeout)
    else:
        plain = socket.socket(socket.AF_UNIX)
    try:
        if url.scheme == "unix":
            plain.settimeout(timeout)
            plain.connect(url.path)
        if url.scheme != "https":
            return plain
        context = ssl.create_default_context(cafile=address.tls_ca or None)
        if address.tls_cert:
            context.load_cert_chain(address.tls_cert, address.tls_key)
        return context.wrap_socket(plain, server_hostname=url.hostname)
    except BaseException:
        plain.close()
        raise


def first_answering(urls: Iterable[str]) -> EngineAddress | None:
    """Return the first of the engines' URLs (``unix:///var/run/docker.sock``; "" is passed over) that answers."""
    return next((address for url in urls if url and answers(address := EngineAddress(url=url))), None)


def free_port(host: str) -> int:
    """Return a TCP port that is free on ``host`` now."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


class PrivateEngine:
    """A dockerd in a folder of its own, with both demo images and no bridge: containers have no network or the host's.

    ``host`` is a loopback address on which it also speaks TLS to clients with a certificate of ``authority``; without one it
    has its unix socket alone; ``port`` is a free one unless given. ``address`` is how to reach it, ``local`` its unix socket.
    Needs root, or sudo. Raise StartFailed from entering.
    """

    def __init__(self, *, host: str = "", port: int = 0, authority: Authority | None = None) -> None:
        if bool(host) != (authority is not None):
            raise ValueError("TLS takes both a host and an authority")
        program = _dockerd()
        self.directory = new_directory("engine")
        self.local = EngineAddress(url=f"unix://{self.directory}/docker.sock")
        self.address = self.local
        command = [program, *_options(self.directory), "-H", self.local.url]
        if authority is not None:
            server = authority.issue(f"engine-{host}", hosts=[host, "localhost"])
            client = authority.issue(f"client-of-{host}")
            url = f"{host}:{port or free_port(host)}"
            self.address = EngineAddress(url=f"https://{url}", tls_ca=str(client.ca), tls_cert=str(client.cert), tls_key=str(client.key))
            command += ["-H", f"tcp://{url}", "--tlsverify", "--tlscacert", str(server.ca)]
            command += ["--tlscert", str(server.cert), "--tlskey", str(server.key)]
        self._daemon = Daemon(self.directory, command, lambda: answers(self.address), as_root=True)

    def __enter__(self) -> Self:
        self._daemon.__enter__()
        try:
            with contextlib.closing(open_engine(self.local)) as api:
                ensure_images(api)
        except docker.errors.DockerException as error:
            self._daemon.stop()
            raise StartFailed(f"the engine takes no image: {error}") from error
        except BaseException:
            self._daemon.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
            self._remove_containers()
        self._daemon.stop()

    def stop(self) -> None:
        """Stop now, as when the machine under it fails; the folder is gone with it."""
        self._daemon.stop()

    def _remove_containers(self) -> None:
        """Remove every container at once; dockerd would wait for each to heed its stop signal."""
        with contextlib.closing(open_engine(self.local)) as api:
            for container in api.containers(all=True, quiet=True):
                with contextlib.suppress(docker.errors.APIError):
                    api.remove_container(container["Id"], force=True, v=True)


def _dockerd() -> str:
    """Return where dockerd is. Raise StartFailed."""
    program = shutil.which("dockerd", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise StartFailed("no dockerd: install Debian's package docker.io")
    return program


def _options(directory: Path) -> list[str]:
    """Return what gives dockerd every folder of its own and lets it touch nothing of the machine's network."""
    config = directory / "daemon.json"  # the machine's own, /etc/docker/daemon.json, is not ours to obey
    config.write_text("{}")
    group = str(directory.stat().st_gid)  # where sudo starts it, the socket is for us all the same
    network = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
    folders = ["--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec", "-p", f"{directory}/pid"]
    return ["--config-file", str(config), *folders, *network, "--group", group]
