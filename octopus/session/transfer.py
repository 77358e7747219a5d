"""A session on a container's files: SFTP or scp over one channel, from its first byte to the last event on the trail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from octopus.core.errors import Disconnected, InvalidRequest
from octopus.core.ports import ContainerFiles
from octopus.core.types import Exit, FileRights, RequestKind, SessionRequest
from octopus.session import scp_command
from octopus.session.file_access import FileAccess
from octopus.session.file_copies import FileCopies
from octopus.session.file_stream import FileStream
from octopus.session.file_trail import FileTrail, Record
from octopus.session.relay import Client, Traffic
from octopus.session.scp_sink import ScpSink
from octopus.session.scp_source import ScpSource
from octopus.session.sftp import Explain, SftpServer
from octopus.session.watch import Watch, together


class Transfer:
    """Serves one client. ``idle_timeout`` in seconds without a byte either way, 0 for none; ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        client: Client,
        request: SessionRequest,
        files: ContainerFiles,
        rights: FileRights,
        copies: FileCopies,
        record: Record,
        explain: Explain,
        traffic: Traffic,
        *,
        client_version: str,
        clock: Callable[[], float],
        idle_timeout: float = 0.0,
    ) -> None:
        self._request = request
        self._explain = explain
        self._client_version = client_version
        self._clock = clock
        self._watch = Watch(idle_timeout=idle_timeout)
        self._stream = FileStream(client, traffic, self._watch.moved)
        self._trail = FileTrail(record)
        self._access = FileAccess(files, rights, self._trail, copies)

    async def run(self, ended: asyncio.Future[str], finish: Callable[[Exit], Awaitable[None]]) -> None:
        """Serve until the client is done, then call ``finish``: every event of a file is durable by then.

        Raise Disconnected where the client left in the middle of a file; SessionEnded when idle or when ``ended`` holds a
        reason; InvalidRequest, ContainerUnavailable, AuditUnavailable, RecordingUnavailable.
        """
        try:
            async with together() as tasks:
                watching = tasks.create_task(self._watch.run(ended))
                status = await self._serve()
                watching.cancel()
        finally:
            await self._access.abort()
            await self._trail.settle()
        await finish(Exit(status=status))

    async def _serve(self) -> int:
        try:
            return await self._speak()
        except Disconnected:
            # Many clients of SFTP close the channel instead of waiting for an exit status.
            if self._request.kind is RequestKind.SFTP and not self._access.in_use:
                return 0
            raise

    async def _speak(self) -> int:
        if self._request.kind is RequestKind.SFTP:
            server = SftpServer(self._stream, self._access, self._explain, client_version=self._client_version, clock=self._clock)
            status = await server.run()
            if self._access.in_use:
                raise Disconnected("the client left off in the middle of a file")
            return status
        command = scp_command.read(self._request.command or "")
        if command is None:
            raise InvalidRequest(f"not scp: {self._request.command!r}")
        protocol = ScpSink if command.receive else ScpSource
        return await protocol(self._stream, self._access, command).run()
