"""Who of several gateways may scale, by ZooKeeper (kazoo, in its own threads): whoever made the node leads while it is there.

The node is ephemeral: ZooKeeper removes it when its maker's session is over, also of a maker that died or hangs. Each call asks
ZooKeeper whose the node is, so that nobody goes on leading by what was true before.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState
from kazoo.security import make_digest_acl

from octopus.core.errors import printable
from octopus.core.unique_actions import Lead

T = TypeVar("T")

_ADDRESS = re.compile(r"zk://(?P<hosts>[^@/]+)(?P<path>/.*[^/])")
NODE = "unique-leader"
MAX_NAME = 200


class ZooKeeperLeadership:
    """The ``Leadership`` port. ``address`` is ``zk://host:port,…/path``; the node is below it, and holds ``name``.

    ``auth`` is ``user:password`` (digest), "" for none: with it only who has it may touch the node. ``timeout`` in seconds is that of
    the session, and of each answer. Raise ValueError.
    """

    def __init__(self, address: str, name: str, *, auth: str = "", timeout: float = 10.0) -> None:
        match = _ADDRESS.fullmatch(address)
        user, colon, password = auth.partition(":")
        if match is None or (auth and not (user and colon and password)):
            raise ValueError("expected zk://host:port,host:port/path, and user:password")
        self._node = f"{match['path']}/{NODE}"
        self._name = printable(name, MAX_NAME)
        self._timeout = timeout
        self._acl = [make_digest_acl(user, password, all=True)] if auth else None
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="unique-leader")
        self._client = KazooClient(hosts=match["hosts"], timeout=timeout, auth_data=[("digest", auth)] if auth else None)
        self._started = False

    async def lead(self) -> Lead:
        """See ``Leadership``."""
        return await self._in_thread(lambda: self._asked(lambda: self._made() or self._theirs()))

    async def look(self) -> Lead:
        """Tell who leads, without trying to."""
        return await self._in_thread(lambda: self._asked(self._theirs))

    async def resign(self) -> None:
        """See ``Leadership``."""
        await self._in_thread(self._resign)

    async def aclose(self) -> None:
        """See ``Leadership``; the end of the session takes the node along."""
        await self._in_thread(self._stop)
        self._threads.shutdown(wait=False)

    def _asked(self, question: Callable[[], Lead]) -> Lead:
        """Return the answer to a question to ZooKeeper, or why there is none."""
        try:
            if not self._started:
                self._client.start(timeout=self._timeout)
                self._started = True
            if self._client.state != KazooState.CONNECTED:
                return Lead(mine=False, problem="ZooKeeper does not answer")
            return question()
        except (KazooException, KazooTimeoutError, OSError, TimeoutError) as error:
            return Lead(mine=False, problem=f"ZooKeeper: {type(error).__name__}: {printable(str(error))}")

    def _made(self) -> Lead | None:
        value = self._name.encode("utf-8", "replace")
        try:
            made = self._client.create_async(self._node, value, acl=self._acl, ephemeral=True, makepath=True)
            made.get(timeout=self._timeout)
        except NodeExistsError:
            return None
        return Lead(mine=True, who=self._name)

    def _theirs(self) -> Lead:
        try:
            data, stat = self._client.get_async(self._node).get(timeout=self._timeout)
        except NoNodeError:
            return Lead(mine=False)
        mine = self._client.client_id is not None and stat.ephemeralOwner == self._client.client_id[0]
        return Lead(mine=mine, who=printable(data.decode("utf-8", "replace"), MAX_NAME))

    def _resign(self) -> None:
        if not self._started or not self._asked(self._theirs).mine:
            return
        try:
            self._client.delete_async(self._node).get(timeout=self._timeout)
        except (KazooException, KazooTimeoutError, OSError, TimeoutError):
            self._stop()

    def _stop(self) -> None:
        if self._started:
            self._started = False
            self._client.stop()
        self._client.close()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
