"""HTTP/1.1 over the plane's unix socket, by h11 alone: a call takes a seventh of the processor time that a general client needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import h11

MAX_ANSWER = 16 << 20
"""Bytes of one answer: the tasks that a picker shows."""
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes


class PlaneHttp:
    """Makes requests at ``socket``, ``max_calls`` at a time; up to ``keep`` connections wait for the next one.

    Every failure is an OSError: no connection, no whole answer of at most ``max_answer`` bytes, or none within ``timeout`` seconds.
    """

    def __init__(self, socket: Path, *, timeout: float, max_calls: int, keep: int = 16, max_answer: int = MAX_ANSWER) -> None:
        self._socket = str(socket)
        self._timeout = timeout
        self._calls = asyncio.Semaphore(max_calls)
        self._keep = keep
        self._max_answer = max_answer
        self._idle: list[_Connection] = []
        self._closed = False

    async def post(self, path: str, content: bytes) -> Answer:
        """Return the answer. What a kept connection fails is asked once more: the server may have closed it meanwhile."""
        async with asyncio.timeout(self._timeout), self._calls:
            while self._idle:
                kept = self._idle.pop()
                if kept.at_end:
                    kept.close()
                    continue
                try:
                    return await self._exchange(kept, path, content)
                except OSError:
                    break
            return await self._exchange(await self._connect(), path, content)

    @asynccontextmanager
    async def stream(self, path: str, content: bytes) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Give the status, and the parts of an answer that may go on for ever, on a connection of its own."""
        async with asyncio.timeout(self._timeout):
            connection = await self._connect()
        try:
            async with asyncio.timeout(self._timeout):
                status = await connection.ask(path, content)
            yield status, connection.parts()
        finally:
            connection.close()

    def close(self) -> None:
        """Close what is kept, and keep nothing from here on."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> _Connection:
        return _Connection(*await asyncio.open_unix_connection(self._socket, limit=_CHUNK))

    async def _exchange(self, connection: _Connection, path: str, content: bytes) -> Answer:
        try:
            status = await connection.ask(path, content)
            body = await connection.body(self._max_answer)
        except BaseException:
            connection.close()
            raise
        if not self._closed and len(self._idle) < self._keep and connection.next():
            self._idle.append(connection)
        else:
            connection.close()
        return Answer(status, body)


class _Connection:
    """One connection; one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    @property
    def at_end(self) -> bool:
        """Whether the other side has closed it."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def ask(self, path: str, content: bytes) -> int:
        """Send a POST and return the status of its answer."""
        headers = [("Host", "plane"), ("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        data = self._http.send(h11.Request(method="POST", target=path, headers=headers)) or b""
        data += self._http.send(h11.Data(data=content)) or b""
        self._http.send(h11.EndOfMessage())
        self._writer.write(data)
        await self._writer.drain()
        while isinstance(event := await self._event(), h11.InformationalResponse):
            pass
        if not isinstance(event, h11.Response):
            raise ConnectionError("the connection ended before an answer")
        return event.status_code

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the answer's body as it comes."""
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionError("the connection ended inside an answer")

    async def body(self, limit: int) -> bytes:
        """Return the answer's body of at most ``limit`` bytes."""
        body = bytearray()
        async for part in self.parts():
            body += part
            if len(body) > limit:
                raise OSError(f"an answer of more than {limit} bytes")
        return bytes(body)

    def next(self) -> bool:
        """Make ready for the next request; False when this was the last."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def close(self) -> None:
        """Drop it."""
        self._writer.transport.abort()

    async def _event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_CHUNK))
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"not an HTTP answer: {error}") from error
        return event
