"""Where an engine answers: the URL of an agent's engine read into a way to connect to it."""

from __future__ import annotations

import os
import ssl
import stat
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from octopus.core.types import EngineAddress
from octopus.engine.ssh_tunnel import SshTunnel
from octopus.engine.tls_sessions import resume
from octopus.engine.tls_stream import connect_tls
from octopus.engine.transport import ByteStream, connect_tcp, connect_unix

SOCKET = "/var/run/docker.sock"
_PORTS = {"http": 2375, "https": 2376, "ssh": 22}


class Endpoint(Protocol):
    """A way to one engine. Every failure is an OSError."""

    base_url: str
    """What the SDK connects to: unix://, http:// or https://."""

    async def ready(self) -> None:
        """Make ``base_url`` reachable."""
        ...

    async def connect(self) -> ByteStream:
        """Open a connection of our own."""
        ...

    def release(self) -> None:
        """Let go of what ``ready`` set up, until it is called again."""
        ...

    async def aclose(self) -> None:
        """Release everything."""
        ...


class UnixEndpoint:
    """An engine on this machine."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.base_url = f"unix://{path}"

    async def ready(self) -> None:
        """Look for the socket: the SDK would leave one of its own open when there is none."""
        if not stat.S_ISSOCK(os.stat(self._path).st_mode):
            raise OSError(f"{self._path} is no socket")

    async def connect(self) -> ByteStream:
        """Connect to the socket."""
        return await connect_unix(self._path)

    def release(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""


class TcpEndpoint:
    """An engine over HTTP, or over HTTPS with a client certificate."""

    def __init__(self, url: SplitResult, address: EngineAddress) -> None:
        self._host, self._port = _host(url), url.port or _PORTS[url.scheme]
        self._address = address
        self._secure = url.scheme == "https"
        self._context = self._resuming() if self._secure else None
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.base_url = f"{url.scheme}://{host}:{self._port}"

    async def ready(self) -> None:
        """Nothing to do."""

    async def connect(self) -> ByteStream:
        """Connect, and verify the engine's certificate."""
        if not self._secure:
            return await connect_tcp(self._host, self._port)
        self._context = self._context or self._resuming()
        return await connect_tls(self._host, self._port, self._context)

    def release(self) -> None:
        """Forget the certificates: they may be renewed on disk."""
        self._context = None

    async def aclose(self) -> None:
        """Nothing to do."""

    def _resuming(self) -> ssl.SSLContext:
        context = tls_context(self._address)
        resume(context)
        return context


class SshEndpoint:
    """An engine behind SSH: a unix socket, once the tunnel stands."""

    def __init__(self, tunnel: SshTunnel) -> None:
        self._tunnel = tunnel
        self.base_url = f"unix://{tunnel.path}"

    async def ready(self) -> None:
        """Set the tunnel up, again when its connection died."""
        await self._tunnel.ready()

    async def connect(self) -> ByteStream:
        """Connect through the tunnel."""
        return await self._tunnel.connect()

    def release(self) -> None:
        """Close the tunnel until it is needed again."""
        self._tunnel.release()

    async def aclose(self) -> None:
        """Close the tunnel."""
        await self._tunnel.aclose()


def open_endpoint(address: EngineAddress, timeout: float) -> Endpoint:
    """Read an address. Raise OSError when it is no engine's, or its certificates cannot be loaded."""
    try:
        url = urlsplit(address.url)
        match url.scheme:
            case "unix":
                return UnixEndpoint(url.path or SOCKET)
            case "http" | "https":
                return TcpEndpoint(url, address)
            case "ssh":
                return SshEndpoint(_tunnel(url, address, timeout))
    except ValueError as error:
        raise OSError(f"the engine's URL {address.url!r}: {error}") from error
    raise OSError(f"the engine's URL {address.url!r} is none of unix, http, https, ssh")


def tls_context(address: EngineAddress) -> ssl.SSLContext:
    """Return a context that trusts the configured CA alone and always verifies certificate and name."""
    if not address.tls_ca:
        raise OSError("https:// needs the CA that signed the engine's certificate")
    context = ssl.create_default_context(cafile=address.tls_ca)
    # Python before 3.11.4 takes an end without close_notify for a good one: output that somebody cut off would seem whole.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if address.tls_cert:
        context.load_cert_chain(address.tls_cert, address.tls_key or None, password=lambda: b"")  # never ask on a terminal
    return context


def _tunnel(url: SplitResult, address: EngineAddress, timeout: float) -> SshTunnel:
    return SshTunnel(
        host=_host(url),
        port=url.port or _PORTS["ssh"],
        user=url.username or "root",
        key=address.ssh_key,
        known_hosts=address.ssh_known_hosts,
        remote=url.path if url.path not in ("", "/") else SOCKET,
        timeout=timeout,
    )


def _host(url: SplitResult) -> str:
    if not url.hostname:
        raise ValueError("no host")
    return url.hostname
