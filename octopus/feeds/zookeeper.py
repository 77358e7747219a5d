"""The leading master from ZooKeeper, where the masters elect it (kazoo, in its own threads)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import WatchedEvent

from octopus.core.errors import OrchestratorUnavailable
from octopus.core.master_nodes import leading_node, master_address
from octopus.feeds.http import origin

T = TypeVar("T")

_ADDRESS = re.compile(r"zk://(?:(?P<auth>[^@/]+)@)?(?P<hosts>[^@/]+)(?P<path>/.*)?")
MAX_KNOWN = 64
"""Masters remembered as found in ZooKeeper."""


class ZooKeeperMasters:
    """The leader by ZooKeeper. ``address`` is ``zk://[user:password@]host:port,…/path``; ``scheme`` is how masters are spoken to.

    Every answer is read afresh while ZooKeeper is there; when it is not, the last leader is what is known. Raise ValueError.
    """

    def __init__(self, address: str, *, scheme: str = "http", timeout: float = 10.0) -> None:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise ValueError("not an address of the form zk://host:port,host:port/path")
        self.changed = asyncio.Event()
        self._path = (match["path"] or "/").rstrip("/") or "/"
        self._scheme = scheme
        self._timeout = timeout
        self._known: dict[tuple[str, str, int], str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="zookeeper")
        auth = [("digest", match["auth"])] if match["auth"] else None
        self._client = KazooClient(hosts=match["hosts"], timeout=timeout, read_only=True, auth_data=auth)
        self._started = False

    async def candidates(self) -> tuple[str, ...]:
        """Return the leader's base URL. Raise OrchestratorUnavailable when there is none, or no ZooKeeper and none was known."""
        self._loop = asyncio.get_running_loop()
        try:
            leader = await self._in_thread(self._read)
        except (KazooException, KazooTimeoutError, OSError, TimeoutError) as error:
            if self._known:
                return (next(reversed(self._known.values())),)
            raise OrchestratorUnavailable(f"ZooKeeper: {type(error).__name__}: {error}") from error
        if not leader:
            raise OrchestratorUnavailable(f"ZooKeeper: no master leads at {self._path}")
        self._remember(leader)
        return (leader,)

    def trusted(self, url: str) -> bool:
        """Whether the URL is on a master that ZooKeeper named."""
        return origin(url) in self._known

    async def aclose(self) -> None:
        """End the connection to ZooKeeper and its threads."""
        await self._in_thread(self._stop)
        self._threads.shutdown(wait=False)

    def _remember(self, leader: str) -> None:
        self._known.pop(origin(leader), None)
        self._known[origin(leader)] = leader
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def _read(self) -> str:
        if not self._started:
            self._client.start(timeout=self._timeout)
            self._started = True
        try:
            # kazoo's blocking calls wait for ever while it reconnects; only the results of its async ones take a timeout.
            children: list[str] = self._client.get_children_async(self._path, watch=self._on_change).get(timeout=self._timeout)
            node = leading_node(children)
            data: bytes = self._client.get_async(f"{self._path.rstrip('/')}/{node}").get(timeout=self._timeout)[0] if node else b""
        except NoNodeError:
            return ""
        if not node:
            return ""
        host, port = master_address(node, data)
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    def _stop(self) -> None:
        self._client.stop()
        self._client.close()

    def _on_change(self, event: WatchedEvent) -> None:
        """Tell the loop, from kazoo's thread, that the masters changed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.changed.set)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        loop: Any = asyncio.get_running_loop()
        result: T = await loop.run_in_executor(self._threads, call)
        return result
